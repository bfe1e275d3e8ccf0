"""What a judged benchmark leaves: its scores with their keys (see `scored`), and its judgments in the official form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from magpie_align.evaluation.scored import Scored
from magpie_align.records import Score


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of one benchmark. `headline` is in the benchmark's own unit, what repeats are compared by; `notes` go to the
    manifest; `records` are the official judgments by file name."""

    scored: tuple[Scored, ...]
    headline: float
    notes: Mapping[str, Any] = field(default_factory=dict)
    records: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


def answer_key(described: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a key that says how answers were made and of which questions, then what is `stated` beside it."""
    left_out = {"without": described["without"]} if "without" in described else {}
    return {"questions": described["questions"], **left_out, **described["decoding"], **stated}


def scored(
    task: str,
    metric: str,
    value: float,
    low: float,
    high: float,
    n: int,
    key: Mapping[str, Any],
    items: Mapping[str, float] | None = None,
    counts: Mapping[str, int] | None = None,
) -> Scored:
    """One score; the model's name is given by whoever reports it."""
    return Scored(Score("", task, metric, value, low, high, n), key, items or {}, None, counts or {})
