"""WildBench: WB-Score rates one answer from 1 to 10, WB-Reward compares it with a reference model's; both with checklists.

Empty answers are told to the judge as the official tools write them, and answers cut at the token limit are marked as theirs are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from magpie_align.evaluation.intervals import interval
from magpie_align.evaluation.judging.alpaca_eval import Pairs
from magpie_align.evaluation.judging.cases import Case, Key, Verdict, Verdicts, drawn_first, pair, single
from magpie_align.evaluation.judging.result import Judged, scored
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


def reward_cases(pairs: Pairs, repeats: int) -> list[Case]:
    """What to ask for WB-Reward: one verdict a pair, seats drawn; an empty or cut answer is a tie without asking."""
    return [
        pair(shown(model), shown(baseline), first=drawn_first(model.question), repeat=repeat)
        for repeat in range(repeats)
        for model, baseline in pairs
        if not _spoiled(model) and not _spoiled(baseline)
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
    margin: int | None,
    key: Mapping[str, Any],
    counts: Mapping[str, int],
) -> Judged:
    """WB-Reward and its task macro average, -1..1, under the length rule `margin`."""
    model, reference = pairs[0][0].generator, pairs[0][1].generator
    judgments = [_comparison(own, other, verdicts) for own, other in pairs]
    known = tasks([own for own, _ in pairs])
    found = wb_reward(judgments, model, reference, margin=margin, tasks=known)
    items = _rewards(judgments, model, reference, margin)
    failed = set(found.failed)
    items = {session: value for session, value in items.items() if session not in failed}
    out = [scored("wildbench_reward", "reward", *interval(list(items.values())), len(items), key, items, counts)]
    if found.task_macro is not None and known is not None:
        fit = {j["session_id"] for j, (a, b) in zip(judgments, pairs, strict=True) if not (_spoiled(a) or _spoiled(b))}
        values = {session: value for session, value in items.items() if session in fit}
        out.insert(0, _macro("wildbench_reward", found.task_macro, values, known, 1, key, counts))
    notes: dict[str, Any] = {"reward": round(found.reward, 4), "avg_len": found.avg_len}
    notes |= {name: found.counts[name] for name in REWARDS}
    return Judged(tuple(out), found.reward, notes, {"pairwise.wb.json": judgments})


def _spoiled(output: Output) -> bool:
    return not output.answers[-1] or output.cut


def _comparison(own: Output, other: Output, verdicts: Verdicts) -> dict[str, Any]:
    verdict = verdicts.get(Key(own.question.id, 1, 0), Verdict(None))
    winner = None
    if verdict.value is not None:
        ahead = verdict.value if drawn_first(own.question) else 1 - verdict.value
        winner = "tie" if ahead == 0.5 else own.generator if ahead > 0.5 else other.generator
    return {
        "session_id": own.question.id,
        "winner": winner,
        "extent": None if winner is None else 0 if winner == "tie" else 2 if verdict.decisive else 1,
        "model_outputs": {o.generator: shown(o).answers[-1] for o in (own, other)},
        "parsed_result": verdict.text,
    }


def _rewards(
    judgments: Sequence[Mapping[str, Any]], model: str, reference: str, margin: int | None
) -> dict[str, float]:
    """The reward of each session; 0 where an answer is empty or cut, or there is no verdict."""
    rewards = {}
    for judgment in judgments:
        outputs = judgment["model_outputs"]
        found = label(judgment, model, reference, len(outputs[model]) - len(outputs[reference]), margin)
        rewards[judgment["session_id"]] = float(REWARDS[found]) if found else 0.0
    return rewards


def _macro(
    task: str,
    value: float,
    values: Mapping[str, float],
    known: Mapping[str, Sequence[str]],
    unit: float,
    key: Mapping[str, Any],
    counts: Mapping[str, int],
) -> Scored:
    """The weighted mean over the five groups with a bootstrap interval over sessions."""
    sessions, names = list(values), list(WEIGHTS)
    member = np.array([[name in known[session] for name in names] for session in sessions], dtype=float)
    gains = np.array([values[session] for session in sessions])
    drawn = np.random.default_rng(0).multinomial(len(sessions), np.full(len(sessions), 1 / len(sessions)), ROUNDS)
    sums, sizes = drawn @ (member * gains[:, None]), drawn @ member
    # A draw without any session of a group has no macro average; with the real set's hundreds in each there is none.
    means = (
        (sums / np.where(sizes > 0, sizes, np.nan))
        @ np.array([WEIGHTS[name] for name in names])
        / sum(WEIGHTS.values())
    )
    whole = means[~np.isnan(means)]
    low, high = percentiles(whole / unit) if len(whole) else (-np.inf, np.inf)
    return scored(task, "task_macro", value, low, high, len(sessions), key, None, counts)
