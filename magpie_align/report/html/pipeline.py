"""The run as a picture: a box for each stage, in columns from left to right, with what it made, how long it took, what it cost."""

from dataclasses import dataclass
from typing import Any

from magpie_align.records import TRAININGS
from magpie_align.report.lineage import Made

WIDTH, HEIGHT, GAP_X, GAP_Y = 158, 58, 34, 14
_GROUPS = {
    "data": ("dataset", "mix", "split", "contamination", "mini_public", "mini_benchmark", "mini_preferences"),
    "synthesis": ("probe", "instructions", "responses", "turns", "base_responses"),
    "curation": ("tags", "language", "safety", "rewards", "base_rewards", "embed", "neighbours", "select", "pairs"),
    "training": (*TRAININGS, "reward_model", "mini_base", "mini_teacher"),
    "evaluation": (
        "evaluate", "mini_truth", "untouched", "outputs", "published_outputs", "alpaca_eval", "arena_hard", "mt_bench", "wildbench", "report",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Box:
    """One stage in the picture; `x` and `y` are its upper left corner in pixels. Seconds and cost are None where not noted."""

    name: str
    kind: str
    group: str
    x: int
    y: int
    rows: int | None
    seconds: float | None
    cost: float | None

    @property
    def figures(self) -> str:
        """`7,500 rows, 37 s, 1.20`"""
        told = [f"{self.rows:,} rows" if self.rows is not None else "", duration(self.seconds)]
        return ", ".join(word for word in [*told, f"{self.cost:,.2f} paid" if self.cost else ""] if word)


@dataclass(frozen=True)
class Picture:
    """Boxes and the lines between them (from the right of one to the left of another); sizes in pixels."""

    boxes: list[Box]
    lines: list[tuple[Box, Box]]
    width: int
    height: int

    def path(self, line: tuple[Box, Box]) -> str:
        """The line as the data of an SVG path."""
        x1, y1 = line[0].x + WIDTH, line[0].y + HEIGHT // 2
        x2, y2 = line[1].x, line[1].y + HEIGHT // 2
        bend = max(24, (x2 - x1) // 2)
        return f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


def group_of(kind: str) -> str:
    """Which part of the loop a kind of stage belongs to; `other` for one that is not known here."""
    return next((group for group, kinds in _GROUPS.items() if kind in kinds), "other")


def picture(made: list[Made]) -> Picture:
    """Each stage one column behind the last of its inputs; in a column in the order of the middle of their inputs."""
    place = {entry.folder: number for number, entry in enumerate(made)}
    level: dict[int, int] = {}
    parents: dict[int, list[int]] = {}
    for number, entry in enumerate(made):
        parents[number] = [place[folder] for folder in entry.parents.values() if folder in place]
        level[number] = 1 + max((level[parent] for parent in parents[number]), default=-1)
    row: dict[int, int] = {}
    for column in range(max(level.values(), default=-1) + 1):
        here = [number for number in level if level[number] == column]
        here.sort(key=lambda n: (sum(row[p] for p in parents[n]) / len(parents[n]) if parents[n] else n, n))
        row |= {number: position for position, number in enumerate(here)}
    boxes = [_box(entry, level[number], row[number]) for number, entry in enumerate(made)]
    lines = [(boxes[parent], boxes[number]) for number in parents for parent in dict.fromkeys(parents[number])]
    width = max((box.x for box in boxes), default=0) + WIDTH + 2
    return Picture(boxes, lines, width, max((box.y for box in boxes), default=0) + HEIGHT + 2)


def _box(entry: Made, column: int, row: int) -> Box:
    x, y = 1 + column * (WIDTH + GAP_X), 1 + row * (HEIGHT + GAP_Y)
    rows = next((entry.summary[name] for name in ("rows", "pairs", "paired") if name in entry.summary), None)
    seconds = entry.manifest.get("seconds")
    rows = rows if isinstance(rows, int) else None
    return Box(entry.name, entry.kind, group_of(entry.kind), x, y, rows, seconds, cost(entry.summary))


def cost(summary: Any) -> float | None:
    """What an engine noted as paid, wherever it stands in the figures of a stage; None where nothing was noted."""
    if not isinstance(summary, dict):
        return None
    found = [summary["cost"]] if isinstance(summary.get("cost"), (int, float)) else []
    found += [paid for value in summary.values() if (paid := cost(value)) is not None]
    return sum(found) if found else None


def duration(seconds: float | None) -> str:
    """`37 s`, `12 m 05 s`, `3 h 20 m`; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} m"
