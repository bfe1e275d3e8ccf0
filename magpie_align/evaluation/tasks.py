"""lm-eval's tasks with the shots and the data that a recipe asks for.

lm-eval takes settings of a single task only from a YAML file. So each task that is asked for gets one, of the same name, that
includes the built-in (or own) definition and changes only what was said: shots, and where its data lies. A group keeps its name
and its way of aggregating; what is said of it holds for all its tasks.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from magpie_align.errors import StageError, suggest
from magpie_align.evaluation.local_data import local_fields

Shots = Mapping[str, int | None]

UNSURE = frozenset({"exact_match_original"})
"""Metrics left out: this one needs an antlr that Hydra excludes, and counts every answer that it cannot parse as wrong."""
PUNKT = "tokenizers/punkt_tab"


@dataclass(frozen=True)
class Loaded:
    """What lm-eval is to run: `names` as asked for (a tag stands for its tasks), single tasks and groups by their names."""

    names: tuple[str, ...]
    tasks: dict[str, Any]
    groups: dict[str, Any]
    manager: Any

    @property
    def asked(self) -> list[Any]:
        return [self.groups.get(name) or self.tasks[name] for name in self.names]


def load_tasks(tasks: Shots, own: Path | None = None, data: Path | None = None) -> Loaded:
    """The tasks by name, each with its number of shots (None: its own).

    From the YAML files of the folder `own`, or, without one, lm-eval's; with `data`, their data sets are read from that folder,
    which may hold YAML files of more tasks and groups too. Raises StageError for a task that does not exist, is asked for twice,
    or whose data cannot be read.
    """
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._index import TaskIndex

    manager = TaskManager(include_path=[str(f) for f in (own, data) if f], include_defaults=own is None)
    known = manager.task_index
    for name in tasks:
        if name not in known:
            where = own or "lm-eval"
            hint = suggest(name, known) or (f"; it has: {', '.join(known)}" if own else "")
            raise StageError(f"{where} has no task '{name}'{hint}")
    _check_punkt(tasks, known)
    with tempfile.TemporaryDirectory(prefix="magpie-tasks-") as scratch:
        _write_changes(tasks, known, data, own, Path(scratch))
        known.update(TaskIndex.build([Path(scratch)]))  # a second manager would read its thousands of files again
        try:
            loaded = manager.load(list(tasks))
        except Exception as error:
            raise StageError(f"the tasks {', '.join(tasks)} cannot be read: {_reason(error)}") from error
    names = [name for asked in tasks for name in (sorted(known[asked].tags) if _is_tag(known[asked]) else [asked])]
    return Loaded(tuple(names), loaded["tasks"], loaded.get("groups", {}), manager)


def _write_changes(tasks: Shots, known: Mapping[str, Any], data: Path | None, own: Path | None, folder: Path) -> None:
    """One YAML file for each single task of those asked for."""
    asked_by: dict[str, str] = {}
    for name, shots in tasks.items():
        for leaf in leaves(name, known):
            if leaf in asked_by:
                raise StageError(f"the task '{leaf}' is asked for twice, by '{asked_by[leaf]}' and '{name}'")
            asked_by[leaf] = name
            fields = _changes(known[leaf].cfg, shots, data, own)
            # A tag would be told anew with these tasks alone, and lose the others.
            changed = {"task": leaf, "include": str(known[leaf].yaml_path.resolve()), "tag": None} | fields
            (folder / f"{leaf.replace('/', '_')}.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")


def _changes(config: Mapping[str, Any], shots: int | None, data: Path | None, own: Path | None) -> dict[str, Any]:
    fields: dict[str, Any] = {} if shots is None else {"num_fewshot": shots}
    if any(metric["metric"] in UNSURE for metric in config.get("metric_list") or ()):
        fields["metric_list"] = [m for m in config["metric_list"] if m["metric"] not in UNSURE]
    given = (config.get("dataset_kwargs") or {}).get("data_files")
    if own and isinstance(given, dict):
        beside = {split: str(_beside(own, name)) for split, name in given.items()}
        return fields | {"dataset_kwargs": config["dataset_kwargs"] | {"data_files": beside}}
    if data and not given:
        return fields | local_fields(config, shots if shots is not None else config.get("num_fewshot") or 0, data)
    return fields


def _check_punkt(tasks: Shots, known: Mapping[str, Any]) -> None:
    """IFEval counts sentences with a model of nltk's, for which it would reach for the network, or fail when all is answered."""
    for name in (leaf for asked in tasks for leaf in leaves(asked, known)):
        if known[name].yaml_path and (known[name].yaml_path.parent / "instructions_util.py").is_file():
            import langdetect
            import nltk

            langdetect.DetectorFactory.seed = 0  # else the language of a short text is another in every run
            try:
                nltk.data.find(PUNKT)
            except LookupError:
                raise StageError(
                    f"the task '{name}' needs nltk's punkt_tab, which is not on this machine; run "
                    "`python -m nltk.downloader punkt_tab` where there is a network, or copy its folder to ~/nltk_data/tokenizers/"
                ) from None


def _beside(folder: Path, name: str) -> Path:
    """A data file of a folder of tasks: beside them, also after the whole was moved."""
    moved = folder / Path(name).name
    return moved if moved.is_file() else folder / name


def leaves(name: str, known: Mapping[str, Any]) -> Iterator[str]:
    """The single tasks that a name of lm-eval's index stands for."""
    entry = known[name]
    if _is_tag(entry):
        yield from sorted(entry.tags)
    elif "group" in (entry.cfg or {}) and isinstance(entry.cfg.get("task"), list):
        yield from _members(entry.cfg["task"], known)
    else:
        yield name


def _members(members: list[Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Of a group: names, names with settings, or groups written on the spot."""
    for member in members:
        name = member if isinstance(member, str) else member.get("group", member.get("task"))
        if name in known:
            yield from leaves(name, known)
        elif isinstance(member, dict) and isinstance(member.get("task"), list):
            yield from _members(member["task"], known)


def _is_tag(entry: Any) -> bool:
    return bool(entry.kind.name == "TAG")


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
