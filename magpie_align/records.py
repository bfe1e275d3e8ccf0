"""The nouns that travel between modules, as frozen dataclasses. Standard library only."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
TRAININGS = ("sft", "dpo", "kto", "cpo", "orpo")
"""The kinds of stages that fine-tune a language model on rows, for whoever knows a stage by its kind alone."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


def to_dicts(messages: "tuple[Message, ...] | list[Message]") -> list[dict[str, str]]:
    """The `[{"role": ..., "content": ...}]` form that tokenizers and TRL take."""
    return [{"role": m.role, "content": m.content} for m in messages]


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """One question of a benchmark. `item` is its id there: for lm-eval's tasks the `doc_id` of the sample logs."""

    task: str
    item: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a result table with its 95% interval.

    `value`, `low` and `high` are in the metric's own unit (accuracies are 0..1); `n` counts the items behind it.
    """

    model: str
    task: str
    metric: str
    value: float
    low: float
    high: float
    n: int

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def write_scores(scores: list[Score], file: Path) -> None:
    """One JSON list of score rows."""
    file.write_text(json.dumps([score.as_row() for score in scores], indent=1) + "\n")


def read_scores(file: Path) -> list[Score]:
    return [Score(**row) for row in json.loads(file.read_text())]
