"""The result table: rows of (model, task, metric, value, interval, n) as JSON and as Markdown."""

import json
from collections.abc import Sequence
from pathlib import Path

from magpie_align.records import Score


def percent(score: Score) -> str:
    """`62.1 [59.0, 65.1]`: the value and its 95% interval, in percent."""
    return f"{100 * score.value:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"


def markdown(title: str, scores: list[Score]) -> str:
    """A Markdown table, aligned to be read as text too: a row a model, a column a task and metric, with its item count."""
    columns = list(dict.fromkeys((s.task, s.metric) for s in scores))
    tasks = {task for task, _ in columns}
    cells = {(s.model, s.task, s.metric): s for s in scores}
    counts = {(s.task, s.metric): s.n for s in scores}
    head = [
        f"{metric if len(tasks) == 1 else f'{task} {metric}'} (n={counts[task, metric]})" for task, metric in columns
    ]
    rows = [["", *head]]
    for model in dict.fromkeys(s.model for s in scores):
        found = [cells.get((model, *column)) for column in columns]
        rows.append([model, *(percent(s) if s else "-" for s in found)])
    return "\n".join([f"## {title}", "", *aligned(rows), ""])


def aligned(rows: list[list[str]], left: int = 1) -> list[str]:
    """The lines of a Markdown table; the first row is its head, the first `left` columns are flush left, the others right."""
    rows = [[word.replace("|", "\\|") for word in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]

    def line(words: list[str]) -> str:
        cells = (w.ljust(n) if i < left else w.rjust(n) for i, (w, n) in enumerate(zip(words, widths, strict=True)))
        return "| " + " | ".join(cells) + " |"

    return [line(rows[0]), line(rule), *map(line, rows[1:])]


def write_report(folder: Path, heading: str, sections: dict[str, list[Score]], notes: Sequence[str] = ()) -> None:
    """`report.md` for people, with `notes` behind the tables; for programs `results.json`, and `tables.json` by heading."""
    body = [f"# {heading}", "", "Percent, with 95% intervals.", ""]
    body += [markdown(title, scores) for title, scores in sections.items()]
    (folder / "report.md").write_text("\n".join([*body, *notes]))
    tables = {title: [score.as_row() for score in scores] for title, scores in sections.items()}
    (folder / "tables.json").write_text(json.dumps(tables, indent=1) + "\n")
    (folder / "results.json").write_text(json.dumps(sum(tables.values(), []), indent=1) + "\n")
