"""The result table: rows of (model, task, metric, value, interval, n) as JSON and as Markdown."""

import json
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
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_line(row, widths) for row in (rows[0], rule, *rows[1:])]
    return "\n".join([f"## {title}", "", *lines, ""])


def _line(words: list[str], widths: list[int]) -> str:
    rest = (word.rjust(width) for word, width in zip(words[1:], widths[1:], strict=True))
    return "| " + " | ".join([words[0].ljust(widths[0]), *rest]) + " |"


def write_report(folder: Path, heading: str, sections: dict[str, list[Score]]) -> None:
    """`report.md` for people and `results.json` for programs."""
    body = [f"# {heading}", "", "Percent, with 95% intervals.", ""]
    body += [markdown(title, scores) for title, scores in sections.items()]
    (folder / "report.md").write_text("\n".join(body))
    rows = [score.as_row() for scores in sections.values() for score in scores]
    (folder / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
