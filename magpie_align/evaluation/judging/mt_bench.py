"""MT-Bench: a rating from 1 to 10 for each turn; questions that have reference answers are graded beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from magpie_align.errors import StageError
from magpie_align.evaluation.intervals import interval
from magpie_align.evaluation.judging.cases import Case, Key, Verdict, Verdicts, single
from magpie_align.evaluation.judging.result import Judged, scored
from magpie_align.evaluation.mt_bench import turn_scores
from magpie_align.evaluation.outputs import Output
from magpie_align.evaluation.question_sets import Record, answered
from magpie_align.evaluation.statistics import bootstrap, percentiles

PROMPTS = {
    "first": "single-v1",
    "second": "single-v1-multi-turn",
    "first_with_reference": "single-math-v1",
    "second_with_reference": "single-math-v1-multi-turn",
}
"""What is asked -> its name in the published prompts."""


def with_references(outputs: Sequence[Output], records: Sequence[Record], where: str) -> list[Output]:
    """The outputs with the published reference answers of a judge in place of the question set's own notes."""
    known = {which: tuple(texts) for which, texts, _ in (answered(r, n, where) for n, r in enumerate(records))}
    return [replace(o, question=replace(o.question, references=known.get(o.question.id, ()))) for o in outputs]


def cases(outputs: Sequence[Output], repeats: int) -> list[Case]:
    """What to ask: every turn. Raises StageError for a question of more than two turns."""
    out = []
    for output in outputs:
        if len(output.question.turns) > 2:
            raise StageError(f"question {output.question.id} has {len(output.question.turns)} turns; MT-Bench has two")
        for repeat in range(repeats):
            for turn in range(len(output.answers)):
                beside = "_with_reference" if len(output.question.references) > turn else ""
                prompt = ("first", "second")[turn] + beside
                out.append(single(output, turn, repeat=repeat, prompt=prompt))
    return out


def score(
    outputs: Sequence[Output], verdicts: Verdicts, judge: str, key: Mapping[str, Any], counts: Mapping[str, int]
) -> Judged:
    """The mean over both turns and of each, as shares of 10. An interval resamples questions, whose turns hang together."""
    judgments: list[dict[str, Any]] = []
    for output in outputs:
        for turn in range(1, len(output.answers) + 1):
            verdict = verdicts.get(Key(output.question.id, turn, 0), Verdict(None))
            judgments.append(
                {
                    "question_id": output.question.id,
                    "model": output.generator,
                    "judge": judge,
                    "turn": turn,
                    "score": -1 if verdict.value is None else verdict.value,
                    "judgment": verdict.text,
                }
            )
    found = turn_scores(judgments)
    out = [_whole(judgments, found.score, found.n, key, counts)]
    for turn in found.turns:
        items = {
            str(j["question_id"]): float(j["score"]) / 10
            for j in judgments
            if j["turn"] == turn and float(j["score"]) > 0
        }
        out.append(scored("mt_bench", f"turn_{turn}", *interval(list(items.values())), len(items), key, items, counts))
    notes = {"score": round(found.score, 4), **{f"turn_{t}": round(v, 4) for t, v in found.turns.items()}}
    return Judged(tuple(out), found.score, {**notes, "failed": len(found.failed)}, {"model_judgment.jsonl": judgments})


def _whole(
    judgments: Sequence[Mapping[str, Any]], value: float, n: int, key: Mapping[str, Any], counts: Mapping[str, int]
) -> Any:
    totals: dict[str, list[float]] = {}
    for judgment in judgments:
        if judgment["score"] > 0:
            sums = totals.setdefault(judgment["question_id"], [0.0, 0.0])
            sums[0] += judgment["score"] / 10
            sums[1] += 1
    won, weights = zip(*totals.values(), strict=True)
    low, high = percentiles(bootstrap(won, weights))
    return scored("mt_bench", "score", value / 10, low, high, n, key, None, counts)
