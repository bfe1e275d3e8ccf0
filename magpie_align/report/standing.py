"""How models stand to each other, as sections of a report: differences in words, and what went wrong in their answers."""

from collections.abc import Sequence

from magpie_align.report.table import aligned


def comparison_section(other: str, rows: Sequence[tuple[str, str, str]], tests: str) -> list[str]:
    """A table of (model, score, difference in words), a row a model; empty where there is nothing to compare."""
    if not rows:
        return []
    models = list(dict.fromkeys(model for model, _, _ in rows))
    columns = list(dict.fromkeys(column for _, column, _ in rows))
    cells = {(model, column): words for model, column, words in rows}
    table = [["", *columns], *([model, *(cells.get((model, c), "-") for c in columns)] for model in models)]
    return ["## Differences", "", f"In points, against {other} on the same questions. {tests}", "", *aligned(table), ""]


def mishap_section(rows: Sequence[tuple[str, str, str, int, int]]) -> list[str]:
    """A table of (model, task, what went wrong, how often, of how many questions); empty where nothing did."""
    if not rows:
        return []
    head = ["", "task", "", "questions"]
    table = [head, *([model, task, what, f"{count} of {of}"] for model, task, what, count, of in rows)]
    return ["## Answers that went wrong", "", *aligned(table, left=3), ""]
