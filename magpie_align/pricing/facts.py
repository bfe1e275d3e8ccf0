"""What the paper states of its data: mean lengths, and how many rows pass which predicates. What it does not say stays unknown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from magpie_align.curation.conditions import All, Condition
from magpie_align.pricing.span import Span


@dataclass(frozen=True)
class Share:
    """Of the rows that `model` wrote, this share passes all of `where`."""

    model: str
    where: All
    share: Span


def lengths(model: str) -> tuple[float, Span] | None:
    """Mean tokens of an instruction that this model writes, and of its response to it."""
    for row in _table()["lengths"]:
        if row["model"] == model.partition("@")[0]:
            turn = Span(*row["turn"]) if isinstance(row["turn"], list) else Span.of(row["turn"])
            return turn.low * row["instruction_share"], turn * (1 - row["instruction_share"])
    return None


@dataclass(frozen=True)
class JudgeCost:
    """Dollars of judging an answer to each of so many questions, at these prices a million tokens read and written."""

    questions: int
    dollars: Span
    price_in: float
    price_out: float


def judge_cost(kind: str) -> JudgeCost | None:
    """What a run of this benchmark costs, as its authors say."""
    for row in _table()["judges"]:
        if row["kind"] == kind:
            return JudgeCost(row["questions"], Span(*row["dollars"]), *row["prices"])
    return None


def questions(name: str) -> int | None:
    """How many questions a published set has."""
    found: dict[str, int] = _table()["questions"]
    return found.get(name.partition("@")[0])


@cache
def shares() -> tuple[Share, ...]:
    from magpie_align.curation.predicates import parse_predicate

    return tuple(
        Share(
            row["model"], tuple(parse_predicate(text).condition for text in row["where"]), Span(row["low"], row["high"])
        )
        for row in _table()["shares"]
    )


def passing(model: str | None, where: All, assumed: Mapping[str, float]) -> Span:
    """What share of the rows written by `model` passes all of `where`: from what is assumed, then from what the paper says.

    That a stage made a row (`response_status = 'ok'`) is taken for granted. Shares assumed for single predicates are multiplied,
    as if they were independent. A filter that asks for no more than a known one lets through at least as much, one that asks for
    no less at most as much; with nothing known, anything between none and all.
    """
    sure = Span.of(1)
    for condition in where:
        if condition.text in assumed:
            sure = sure * assumed[condition.text]
    rest = tuple(c for c in where if c.text not in assumed and not _made(c))
    if not rest:
        return sure
    known = [fact for fact in shares() if model and fact.model == model.partition("@")[0]]
    low = max((fact.share.low for fact in known if _asks_no_less(fact.where, rest)), default=0.0)
    high = min((fact.share.high for fact in known if _asks_no_less(rest, fact.where)), default=1.0)
    return sure * Span(low, high)


def _made(condition: Condition) -> bool:
    return condition.text.replace('"', "").endswith("_status = 'ok'")


def _asks_no_less(one: Iterable[Condition], other: Iterable[Condition]) -> bool:
    """Whether what passes `one` passes `other` too."""
    return all(any(c.implies(theirs) for c in one) for theirs in other)


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("facts.yaml").read_text())
    return table
