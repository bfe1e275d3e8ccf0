"""The leaderboard in words: each column with its own and its published rows, and what each own row says of the paper's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from magpie_align.evaluation.intervals import Z95
from magpie_align.evaluation.leaderboard import Answer, Column, Row
from magpie_align.evaluation.published import PublishedRow


@dataclass(frozen=True, slots=True)
class Line:
    """One row: who, the score in percent with its interval, where it comes from; `verdict` of own rows that answer a published one."""

    model: str
    score: str
    source: str
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One column of the leaderboard. `key` is that of its own rows; `apart` says why nothing published stands in it."""

    title: str
    key: Mapping[str, Any]
    lines: tuple[Line, ...]
    apart: tuple[str, ...]
    answers: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def board(columns: Sequence[Column]) -> list[Section]:
    """Each column best first, own and published rows together."""
    return [_section(column) for column in columns]


def setting_names(published: Iterable[PublishedRow]) -> list[str]:
    """The settings of a training that the published rows tell, and so are worth comparing."""
    return list(dict.fromkeys(name for row in published for name in row.settings))


def _section(column: Column) -> Section:
    own = [(row.score.value, _own_line(row, answer)) for row, answer in zip(column.rows, column.answers, strict=True)]
    theirs = [(row.value, Line(row.model, _percent(row), row.source)) for row in column.published]
    lines = [line for _, line in sorted([*own, *theirs], key=lambda pair: -pair[0])]
    answers = [_words(row, a) for row, a in zip(column.rows, column.answers, strict=True) if a]
    return Section(f"{column.task} {column.metric}", column.key, tuple(lines), column.apart, tuple(answers))


def _own_line(row: Row, answer: Answer | None) -> Line:
    score = row.score
    value = f"{100 * score.value:.2f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"
    return Line(score.model, value, f"here, n={score.n}", answer.verdict if answer else "")


def _percent(row: PublishedRow) -> str:
    if row.error is None:
        return f"{100 * row.value:.2f}"
    half = Z95 * row.error
    return f"{100 * row.value:.2f} [{100 * (row.value - half):.1f}, {100 * (row.value + half):.1f}]"


def _words(row: Row, answer: Answer) -> str:
    """`ours` against `theirs`: reproduced (+0.3 points, within 2.6 by chance). Differs: ..."""
    differs = f" Differs: {'; '.join(answer.differs)}." if answer.differs else " No setting differs."
    return f"{row.score.model} against {answer.published.model}: {answer.verdict} ({answer.reason}).{differs}"
