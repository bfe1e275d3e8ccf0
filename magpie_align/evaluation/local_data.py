"""Files of a folder in place of data sets of the hub, for lm-eval tasks: what each task's splits are read from.

The files of a task lie, in this order of looking, in `TASK/`, `ORG/DATASET/CONFIGURATION/`, `ORG/DATASET/data/` or `ORG/DATASET/`
of the folder: the last three are what a copy of the hub's repository has. A file belongs to the split that its name begins with
(`test.jsonl.gz`, `test-00000-of-00002.parquet`, `validation.csv`); where there is but one file, it is what is asked.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError

BUILDERS = {"jsonl": "json", "json": "json", "csv": "csv", "parquet": "parquet"}
_FILE = re.compile(r"(?P<split>[a-zA-Z]+)?.*?\.(?P<kind>jsonl|json|csv|parquet)(\.gz|\.zst|\.xz|\.bz2)?")
_SPLITS = ("test_split", "validation_split", "training_split", "fewshot_split")


def local_fields(config: Mapping[str, Any], shots: int, folder: Path) -> dict[str, Any]:
    """The fields of a task's YAML that make it read `folder`. Raises StageError where it has not what the task needs."""
    name = config["task"]
    place, files = _files(config, folder)
    asked = config.get("test_split") or config.get("validation_split")
    examples = _examples(config) if shots else None
    wanted = dict.fromkeys(str(config[field]) for field in _SPLITS if config.get(field))
    found = {split: paths for split in wanted if (paths := _of_split(files, split))}
    if asked not in found and len(files) == 1:
        found[str(asked)] = files
    missing = [split for split in (asked, examples) if split and split not in found]
    if missing:
        raise StageError(
            f"data: {place} has no file for the split '{missing[0]}' of the task '{name}'; "
            f"name one {missing[0]}.jsonl (or .csv, .parquet)"
        )
    kinds = {BUILDERS[_FILE.fullmatch(file.name)["kind"]] for paths in found.values() for file in paths}  # type: ignore[index]
    if len(kinds) > 1:
        raise StageError(f"data: the files of the task '{name}' in {place} are of several kinds: {', '.join(kinds)}")
    data_files = {split: [str(file) for file in paths] for split, paths in found.items()}
    unread = {field: None for field in _SPLITS if config.get(field) and config[field] not in found}
    return {"dataset_path": kinds.pop(), "dataset_name": None, "dataset_kwargs": {"data_files": data_files}} | unread


def _files(config: Mapping[str, Any], folder: Path) -> tuple[Path, list[Path]]:
    """The first place that holds files for this task, and the files."""
    source = folder / str(config.get("dataset_path", ""))
    inner = [source / str(config["dataset_name"])] if config.get("dataset_name") else []
    places = [folder / config["task"], *inner, source / "data", source]
    for place in places:
        files = [file for file in sorted(place.glob("*")) if file.is_file() and _FILE.fullmatch(file.name)]
        if files and place != folder:
            return place, files
    looked = ", ".join(f"{place.relative_to(folder)}/" for place in places)
    raise StageError(f"data: {folder} has no files for the task '{config['task']}'; looked in {looked}")


def _of_split(files: list[Path], split: str) -> list[Path]:
    return [file for file in files if re.match(rf"{re.escape(split)}(?![a-zA-Z])", file.name)]


def _examples(config: Mapping[str, Any]) -> str | None:
    """The split that examples are taken from; None where they are written in the task."""
    given = config.get("fewshot_config") or {}
    if given.get("samples"):
        return None
    named = given.get("split") or config.get("fewshot_split") or config.get("training_split")
    return named or config.get("validation_split") or config.get("test_split")
