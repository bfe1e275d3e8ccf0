"""WildBench: WB-Score rates one answer from 1 to 10, WB-Reward compares it with a reference model's; both with checklists.

WB-Reward takes one verdict a pair, seats drawn by question as officially, or one from each seat (`both`): then the reward of a
question is the mean of the two, and there is none where one of them failed. Empty answers are told to the judge as the official tools write them, and answers cut at the token limit are marked as theirs are.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from magpie_align.evaluation.intervals import interval
from magpie_align.evaluation.judging.alpaca_eval import Pairs
from magpie_align.evaluation.judging.cases import Case, Key, Verdict, Verdicts, pair, seatings, single, sits_first
from magpie_align.evaluation.judging.result import Judged, scored
from magpie_align.evaluation.judging.settings import Seats
from magpie_align.evaluation.outputs import Output
from magpie_align.evaluation.scored import Scored
from magpie_align.evaluation.statistics import percentiles
from magpie_align.evaluation.wildbench import (
    EMPTY,
    REWARDS,
    TRUNCATED,
    WEIGHTS,
    groups,
    label,
    wb_reward,
    wb_score,
)  # fmt: skip

ROUNDS = 2000


def shown(output: Output) -> Output:
    """The answer as WildBench shows it: marked where it was cut, named where it is empty."""
    text = output.answers[-1]
    text = EMPTY if not text else text + TRUNCATED if output.cut else text
    return replace(output, answers=(*output.answers[:-1], text))


def tasks(outputs: Sequence[Output]) -> dict[str, Sequence[str]] | None:
    """Session -> the groups it counts in; None for a question set without task tags."""
    if not any(output.question.tags for output in outputs):
        return None
    return {o.question.id: groups(o.question.tags[0], o.question.tags[1:]) if o.question.tags else () for o in outputs}


def score_cases(outputs: Sequence[Output], repeats: int) -> list[Case]:
    """What to ask for WB-Score."""
    return [single(shown(output), 0, repeat=repeat) for repeat in range(repeats) for output in outputs]


def reward_cases(pairs: Pairs, seats: Seats, repeats: int) -> list[Case]:
    """What to ask for WB-Reward; an empty or cut answer is a tie without asking."""
    return [
        pair(shown(model), shown(baseline), first=sits_first(model.question, part), part=part, repeat=repeat)
        for repeat in range(repeats)
        for model, baseline in pairs
        if not _spoiled(model) and not _spoiled(baseline)
        for part in seatings(seats)
    ]


def score(outputs: Sequence[Output], verdicts: Verdicts, key: Mapping[str, Any], counts: Mapping[str, int]) -> Judged:
    """WB-Score and the task macro average, as shares of 10."""
    judgments: list[dict[str, Any]] = []
    for output in outputs:
        verdict = verdicts.get(Key(output.question.id, 1, 0), Verdict(None))
        empty_or_shown = shown(output).answers[-1] if output.answers[-1] else ""
        judgments.append(
            {
                "session_id": output.question.id,
                "score": verdict.value,
                "model_output": empty_or_shown,
                "model_test": output.generator,
                "parsed_result": verdict.text,
            }
        )
    known = tasks(outputs)
    found = wb_score(judgments, known)
    items = {j["session_id"]: j["score"] / 10 for j in judgments if j["score"] is not None}
    out = [scored("wildbench", "score", *interval(list(items.values())), len(items), key, items, counts)]
    if found.task_macro is not None and known is not None:
        kept = {j["session_id"] for j in judgments if j["model_output"] and not j["model_output"].endswith(TRUNCATED)}
        adjusted = {name: (10 * value - 5) * 2 for name, value in items.items() if name in kept}
        out.insert(0, _macro("wildbench", found.task_macro / 10, adjusted, known, 10, key, counts))
    notes: dict[str, Any] = {
        "score": round(found.score, 4),
        "adjusted": round(found.adjusted, 4),
        "avg_len": found.avg_len,
    }
    notes |= {"tasks": {name: round(value, 4) for name, value in found.tasks.items()}, "failed": len(found.failed)}
    return Judged(tuple(out), found.score, notes, {"scores.wb.json": judgments})


def reward(
    pairs: Pairs,
    verdicts: Verdicts,
    seats: Seats,
    margin: int | None,
    key: Mapping[str, Any],
    counts: Mapping[str, int],
) -> Judged:
    """WB-Reward and its task macro average, -1..1, under the length rule `margin`."""
    model, reference = pairs[0][0].generator, pairs[0][1].generator
    judgments = [judgment for own, other in pairs for judgment in _comparisons(own, other, verdicts, seats)]
    known = tasks([own for own, _ in pairs])
    found = wb_reward(judgments, model, reference, margin=margin, tasks=known)
    items = _rewards(judgments, model, reference, margin)
    failed = set(found.failed)
    items = {session: value for session, value in items.items() if session not in failed}
    out = [scored("wildbench_reward", "reward", *interval(list(items.values())), len(items), key, items, counts)]
    if found.task_macro is not None and known is not None:
        fit = {a.question.id for a, b in pairs if not (_spoiled(a) or _spoiled(b))}
        values = {session: value for session, value in items.items() if session in fit}
        out.insert(0, _macro("wildbench_reward", found.task_macro, values, known, 1, key, counts))
    notes: dict[str, Any] = {"reward": round(found.reward, 4), "avg_len": found.avg_len}
    notes |= {name: found.counts[name] for name in REWARDS}
    return Judged(tuple(out), found.reward, notes, {"pairwise.wb.json": judgments})


def _spoiled(output: Output) -> bool:
    return not output.answers[-1] or output.cut


def _comparisons(own: Output, other: Output, verdicts: Verdicts, seats: Seats) -> list[dict[str, Any]]:
    """The official records of a session, one a seating; they name no winner where one of them has no verdict."""
    parts = seatings(seats)
    said = [verdicts.get(Key(own.question.id, part, 0), Verdict(None)) for part in parts]
    whole = all(verdict.value is not None for verdict in said)
    return [
        {"session_id": own.question.id}
        | (_winner(own, other, verdict, part) if whole else {"winner": None, "extent": None})
        | {"model_outputs": {o.generator: shown(o).answers[-1] for o in (own, other)}, "parsed_result": verdict.text}
        for part, verdict in zip(parts, said, strict=True)
    ]


def _winner(own: Output, other: Output, verdict: Verdict, part: int) -> dict[str, Any]:
    assert verdict.value is not None
    ahead = verdict.value if sits_first(own.question, part) else 1 - verdict.value
    if ahead == 0.5:
        return {"winner": "tie", "extent": 0}
    return {"winner": own.generator if ahead > 0.5 else other.generator, "extent": 2 if verdict.decisive else 1}


def _rewards(
    judgments: Sequence[Mapping[str, Any]], model: str, reference: str, margin: int | None
) -> dict[str, float]:
    """The mean reward of each session; 0 where an answer is empty or cut, or there is no verdict."""
    rewards: dict[str, list[float]] = defaultdict(list)
    for judgment in judgments:
        outputs = judgment["model_outputs"]
        found = label(judgment, model, reference, len(outputs[model]) - len(outputs[reference]), margin)
        rewards[judgment["session_id"]].append(float(REWARDS[found]) if found else 0.0)
    return {session: sum(values) / len(values) for session, values in rewards.items()}


def _macro(
    task: str,
    value: float,
    values: Mapping[str, float],
    known: Mapping[str, Sequence[str]],
    unit: float,
    key: Mapping[str, Any],
    counts: Mapping[str, int],
) -> Scored:
    low, high = macro_interval(values, known)
    return scored(task, "task_macro", value, low / unit, high / unit, len(values), key, None, counts)


def macro_interval(
    values: Mapping[str, float], known: Mapping[str, Sequence[str]], rounds: int = ROUNDS
) -> tuple[float, float]:
    """The 95% interval of the weighted mean over the five groups, by a bootstrap over sessions."""
    sessions, names = list(values), list(WEIGHTS)
    member = np.array([[name in known[session] for name in names] for session in sessions], dtype=float)
    gains = np.array([values[session] for session in sessions])
    drawn = np.random.default_rng(0).multinomial(len(sessions), np.full(len(sessions), 1 / len(sessions)), rounds)
    sums, sizes = drawn @ (member * gains[:, None]), drawn @ member
    # A draw without any session of a group has no macro average; with the real set's hundreds in each there is none.
    weights = np.array([WEIGHTS[name] for name in names])
    means = (sums / np.where(sizes > 0, sizes, np.nan)) @ weights / weights.sum()
    whole = means[~np.isnan(means)]
    return percentiles(whole) if len(whole) else (-np.inf, np.inf)
