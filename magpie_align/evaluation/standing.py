"""The scores of several models together: which may stand in one table, how far apart they are, what went wrong in their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from magpie_align.errors import StageError, suggest
from magpie_align.evaluation.scored import Scored
from magpie_align.evaluation.statistics import Comparison, adjust, compare
from magpie_align.records import Score

Models = Mapping[str, Sequence[Scored]]
"""Name to show -> scores, those of parts of groups left out."""

COUNTS = {
    "truncated": "answers cut at the token limit",
    "empty": "empty answers",
    "shortened": "prompts that lost their start",
    "special_token": "answers ended by a special token that does not stop the model",
    "error": "questions without an answer, judged as empty ones",
}
"""What may go wrong, in words; what an evaluation counts besides is shown by its own name."""
_HASHES = ("questions", "prompts", "judge_prompt_hash")


@dataclass(frozen=True, slots=True)
class Compared:
    """Two models on one score: the task and metric, and how they compare."""

    task: str
    metric: str
    comparison: Comparison


def shown(models: Models) -> dict[str, list[Scored]]:
    """The scores to show, under the names of their models."""
    return {
        name: [replace(one, score=replace(one.score, model=name)) for one in scored if one.part_of is None]
        for name, scored in models.items()
    }


def tables(models: Models) -> dict[str, list[Score]]:
    """Tables of models whose scores of the same task and metric have the same keys, each with what sets it apart.

    The first has no words; each other says how its models were measured otherwise: `where chat_template is False`.
    """
    groups: list[dict[str, Sequence[Scored]]] = []
    for name, scored in models.items():
        home = next((group for group in groups if _fits(scored, group)), None)
        if home is None:
            home = {}
            groups.append(home)
        home[name] = scored
    found: dict[str, list[Score]] = {}
    for group in groups:
        words = ""
        for hashes in (False, True):
            if words in found:
                words = _otherwise(group, groups[0], hashes)
        words += (
            f" ({len(found)})" if words in found else ""
        )  # apart from another table only where the first has no score
        found[words] = [one.score for scored in group.values() for one in scored]
    return found


def _fits(scored: Sequence[Scored], group: Mapping[str, Sequence[Scored]]) -> bool:
    keys = _keys(group)
    return all(keys.get(_place(one), one.key) == one.key for one in scored)


def _keys(group: Mapping[str, Sequence[Scored]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {_place(one): one.key for scored in group.values() for one in scored}


def _place(one: Scored) -> tuple[str, str]:
    return one.score.task, one.score.metric


def _otherwise(group: Mapping[str, Sequence[Scored]], first: Mapping[str, Sequence[Scored]], hashes: bool) -> str:
    """The fields that differ where both have a score, with `hashes` or only if nothing else does."""
    ours, theirs = _keys(group), _keys(first)
    differ: dict[str, Any] = {}
    for place in ours.keys() & theirs.keys():
        for field in dict.fromkeys([*ours[place], *theirs[place]]):
            if ours[place].get(field) != theirs[place].get(field):
                differ[field] = ours[place].get(field)
    left_out = differ.pop("without", "")
    said = differ if hashes else {f: v for f, v in differ.items() if f not in _HASHES} or differ
    if left_out != "":
        # Which questions are left is then in the hashes and counts too, and needs no words of its own.
        said = {field: value for field, value in said.items() if field not in (*_HASHES, "items")}
    said = {field: value for field, value in said.items() if value is not None} or said
    words = [f"{field} is {value if value is not None else 'not said'}" for field, value in sorted(said.items())]
    parts = [f"where {', '.join(words)}"] * bool(words)
    return ", ".join([*parts, *([f"without {left_out}" if left_out else "with all questions"] * (left_out != ""))])


def comparisons(models: Models, other: str) -> list[Compared]:
    """Every model against `other` in each score that both have with one key and on the same items.

    p values are corrected by Holm for all of them together. Raises StageError for an unknown name.
    """
    if other not in models:
        raise StageError(
            f"compare_with: there is no model '{other}'{suggest(other, models)}; there are: {', '.join(models)}"
        )
    base = {_place(one): one for one in models[other] if one.items}
    found = [
        Compared(*place, compare(name, one.items, other, base[place].items))
        for name, scored in models.items()
        for one in scored
        if name != other and (place := _place(one)) in base and _comparable(one, base[place])
    ]
    adjusted = adjust([c.comparison.p for c in found])
    return [
        replace(c, comparison=replace(c.comparison, p=p, comparisons=len(found)))
        for c, p in zip(found, adjusted, strict=True)
    ]


def _comparable(one: Scored, other: Scored) -> bool:
    return one.key == other.key and one.items.keys() == other.items.keys()


def how_tested(compared: Sequence[Compared]) -> str:
    """One sentence on the tests behind these comparisons."""
    methods = ", ".join(dict.fromkeys(c.comparison.method for c in compared))
    many = f", corrected for {len(compared)} comparisons (Holm)" if len(compared) > 1 else ""
    return f"Intervals: 95%, paired bootstrap. p: {methods}{many}."


def difference(comparison: Comparison) -> str:
    """`+18.2 [15.9, 20.7] better, p < 0.001`, in points of percent."""
    points = f"{100 * comparison.difference:+.1f} [{100 * comparison.low:+.1f}, {100 * comparison.high:+.1f}]"
    return f"{points} {comparison.claim}"


def mishaps(models: Models) -> list[tuple[str, str, str, int, int]]:
    """(model, task, what went wrong, how often, of how many questions) where anything did."""
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for name, scored in models.items():
        for one in scored:
            for what, count in one.counts.items():
                if count:
                    asked = one.key.get("items", one.score.n)
                    found.setdefault((name, one.score.task, COUNTS.get(what, what)), (count, asked))
    return [(*place, *counts) for place, counts in found.items()]
