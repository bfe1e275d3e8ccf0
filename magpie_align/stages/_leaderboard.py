"""What the stage `report` and the verb `report` share: how models stand to each other, and beside the paper's."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError, suggest
from magpie_align.evaluation.board import Section, board, setting_names
from magpie_align.evaluation.leaderboard import Row, join
from magpie_align.evaluation.published import published_rows
from magpie_align.evaluation.scored import Scored, read_scored
from magpie_align.evaluation.standing import comparisons, difference, how_tested, mishaps, shown
from magpie_align.flow.graph import Node
from magpie_align.report.standing import comparison_section, mishap_section
from magpie_align.report.table import aligned


def answer_problems(answers: Mapping[str, str], models: Mapping[str, Any]) -> list[str]:
    """Sentences on `answers` that name a model or a published row that is not there."""
    published = list(dict.fromkeys(row.model for row in published_rows()))
    lost = [
        f"answers: there is no model '{name}'{suggest(name, models)}; models has: {', '.join(models)}"
        for name in answers
        if name not in models
    ]
    return lost + [
        f"answers.{name}: nothing is published of '{row}'{suggest(row, published) or '; there are: ' + ', '.join(published)}"
        for name, row in answers.items()
        if row not in published
    ]


def standing_notes(
    models: Mapping[str, Sequence[Scored]], other: str | None, rows: Sequence[Row], out: Path
) -> list[str]:
    """The sections behind a report's tables, those that have something to say; for programs, the same as JSON files in `out`."""
    other = other or next(iter(models), "")
    compared = comparisons(models, other) if models else []
    told = [(c.comparison.run, f"{c.task} {c.metric}", difference(c.comparison)) for c in compared]
    sections = leaderboard(rows)
    for name, content in (
        ("comparisons", [asdict(c.comparison) | {"task": c.task, "metric": c.metric, "words": c.comparison.words} for c in compared]),
        ("leaderboard", [section.as_json() for section in sections]),
    ):  # fmt: skip
        if content:
            (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    notes = comparison_section(other, told, how_tested(compared)) + mishap_section(mishaps(models))
    return notes + (["## Beside the paper", "", *markdown(sections)] if sections else [])


def trained_rows(scored: Sequence[Scored], artifact: Path, answers: str | None) -> list[Row]:
    """The rows of one evaluation; `artifact` is its folder in the store, which tells how its model was trained."""
    wanted = [one for one in scored if one.part_of is None and one.key]
    settings = training_settings(artifact) if wanted else {}
    return [Row(one.score, one.key, settings, answers) for one in wanted]


def leaderboard(rows: Sequence[Row], everything: bool = False) -> list[Section]:
    """The columns to show: those of whose task and metric something is published, or all."""
    published = published_rows()
    told = {(p.task, p.metric) for p in published}
    return board(join([r for r in rows if everything or (r.score.task, r.score.metric) in told], published))


def markdown(sections: Sequence[Section]) -> list[str]:
    """The sections as Markdown, a heading and a table each."""
    out: list[str] = []
    for section in sections:
        key = ", ".join(f"{name} {value}" for name, value in section.key.items())
        judged = any(line.verdict for line in section.lines)
        rows = [["", "percent", *(["verdict"] * judged), "from"]]
        rows += [[line.model, line.score, *([line.verdict] * judged), line.source] for line in section.lines]
        out += [f"### {section.title}", "", f"Measured with {key}.", ""]
        out += [*aligned(rows), ""]
        if section.apart:
            out += [f"Nothing published stands here: {'; '.join(section.apart)}.", ""]
        out += [f"- {words}" for words in section.answers] + [""] * bool(section.answers)
    return out


def training_settings(artifact: Path) -> dict[str, Any]:
    """How the model that an evaluation scored was trained, as far as published rows tell it; its base by its bare name."""
    store, manifest = artifact.parent, _scored(artifact)
    chain = list(_models(manifest, store))
    trained = chain[0] if chain else None
    found = {}
    if trained is not None:
        given, made = trained["settings"], trained.get("summary", {})
        plain = {name: value for name, value in given.items() if isinstance(value, (str, int, float))}
        found = {name: plain[name] for name in setting_names(published_rows()) if name in plain}
        found |= {"rows": made.get("rows", made.get("pairs"))} if {"rows", "pairs"} & made.keys() else {}
    last = chain[-1] if chain else manifest
    base = str(last["settings"].get("model", last["kind"] if chain else ""))
    return found if not base else {"base": base.rpartition("/")[2].partition("@")[0].removeprefix("Meta-"), **found}


def _scored(artifact: Path) -> dict[str, Any]:
    """The manifest that says which model was scored: of the evaluation, or of the scores or answers that it took."""
    manifest = _manifest(artifact)
    for field in ("scores", "outputs"):
        below = artifact.parent / str(manifest["inputs"].get(manifest["settings"].get(field), ""))
        if "model" not in manifest["settings"] and below != artifact.parent and (below / "manifest.json").is_file():
            return _scored(below)
    return manifest


def _models(manifest: Mapping[str, Any], store: Path) -> Iterator[dict[str, Any]]:
    """The manifests of the models that this was made of, nearest first; a model from outside has none."""
    folder = str(manifest["inputs"].get(manifest["settings"].get("model"), ""))
    if folder and (store / folder / "manifest.json").is_file():
        below = _manifest(store / folder)
        yield below
        yield from _models(below, store)


def _manifest(artifact: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def write_leaderboard(sections: Sequence[Section], folder: Path) -> Path:
    """`leaderboard.md` for people, `leaderboard.json` for programs; returns the first."""
    text = [
        "# Leaderboard",
        "",
        "Percent, with 95% intervals; rows share a table only where they were measured alike.",
        "",
    ]
    (folder / "leaderboard.md").write_text("\n".join([*text, *markdown(sections)]), encoding="utf-8")
    rows = [section.as_json() for section in sections]
    (folder / "leaderboard.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return folder / "leaderboard.md"


def report_rows(nodes: Sequence[Node]) -> list[Row]:
    """The rows of what the reports of a recipe show, as far as it is made. Raises StageError where nothing is."""
    rows: dict[str, list[Row]] = {}
    for node in nodes:
        for name, ref in getattr(node.stage, "models", {}).items() if node.kind == "report" else ():
            artifact = node.inputs[ref].artifact
            if artifact.done:
                answers = getattr(node.stage, "answers", {}).get(name)
                scored = shown({name: read_scored(artifact.data)})[name]
                rows[name] = trained_rows(scored, artifact.folder, answers)
    if not rows:
        raise StageError("this recipe has evaluated nothing that a report of it shows; run it first")
    return [row for own in rows.values() for row in own]


def store_rows(store: Path) -> list[Row]:
    """The rows of every evaluation in a store, under the names that its reports give them.

    Raises StageError where there is none.
    """
    names = _named(store)
    found: dict[str, list[Row]] = {}
    for file in sorted(store.glob("*/data/keys.json")):
        artifact = file.parent.parent
        if (artifact / "manifest.json").is_file():
            name, answers, title = names.get(artifact.name, (_model_name(artifact), None, artifact.name))
            name = f"{name} ({title})" if name in found else name
            found[name] = trained_rows(shown({name: read_scored(file.parent)})[name], artifact, answers)
    if not found:
        raise StageError(f"there is no evaluation in {store}; run a recipe that has some, or give another store=FOLDER")
    return [row for rows in found.values() for row in rows]


def _named(store: Path) -> dict[str, tuple[str, str | None, str]]:
    """Artifact -> what reports call it, the published row that it answers, the report's title; the latest report counts."""
    reports = [_manifest(file.parent) for file in store.glob("report-*/manifest.json")]
    named: dict[str, tuple[str, str | None, str]] = {}
    for report in sorted(reports, key=lambda r: str(r["finished"])):
        settings = report["settings"]
        for name, ref in settings["models"].items():
            named[report["inputs"][ref]] = (name, settings.get("answers", {}).get(name), settings["title"])
    return named


def _model_name(artifact: Path) -> str:
    manifest = _scored(artifact)
    ref = str(manifest["settings"].get("model", artifact.name))
    return str(manifest["inputs"].get(ref, ref))
