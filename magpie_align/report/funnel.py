"""The funnel of a selection: how many rows each predicate left, from the first row made to the last one selected."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.report.lineage import Made, lineage
from magpie_align.report.table import aligned

HEAD = ["stage", "predicate", "rows before", "kept", "without a value"]


def funnel_rows(made: Iterable[Made]) -> list[list[Any]]:
    """A row for each predicate of each selection among these artifacts, as `HEAD` names its cells, and one for what was taken.

    Selections that push-down put in front of a stage are among them.
    """
    rows: list[list[Any]] = []
    for entry in made:
        for step in entry.summary.get("funnel") or []:
            rows.append([entry.name, f"`{step['predicate']}`", step["came"], step["kept"], step["missing"]])
        if "funnel" in entry.summary:
            came = entry.summary["funnel"][-1]["kept"] if entry.summary["funnel"] else ""
            rows.append([entry.name, _ending(entry.settings), came, entry.summary["rows"], ""])
    return rows


def funnel_section(name: str, artifact: Path) -> str:
    """A Markdown section on a selection's artifact and what it was made of: its funnel, its groups, what it was short of."""
    made = lineage({name: artifact})
    summary = made[-1].summary
    if "funnel" not in summary:
        raise StageError(f"{artifact.name} is no selection, so it has no funnel; name a stage `select`")
    rows = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in funnel_rows(made)]
    told = "; ".join(
        f"{group['value']} {group['taken']:,} of {group['found']:,}" for group in summary.get("groups", [])
    )
    notes = [f"Groups: {told}." if told else "", f"{summary['short']}." if "short" in summary else ""]
    return "\n".join([f"### {name}", "", *aligned([HEAD, *rows], left=2), "", *(f"{note}\n" for note in notes if note)])


def _ending(settings: Mapping[str, Any]) -> str:
    """`the first 300,000 by response_length desc`, or `all`."""
    order, limit = settings.get("order_by"), settings.get("limit")
    words = [f"the first {limit:,}" if limit else "all", f"by `{order}`" if order else ""]
    return " ".join(word for word in words if word)
