"""Preference pairs: of k responses to an instruction the best and the worst by reward (paper, section 2.3)."""

from collections import Counter
from collections.abc import Iterable
from itertools import groupby

from magpie_align.flow.table import Row


def preference_pairs(
    responses: Iterable[Row], rewards: dict[tuple[str, int], float | None], min_margin: float
) -> tuple[list[Row], Counter[str]]:
    """One row per instruction with its chosen and rejected response, and a count of what became of every instruction.

    `responses` come grouped by uuid. `rewards` maps (uuid, sample) to the reward; a response without one is no candidate.
    Instructions are left out, and counted, when fewer than two candidates remain, when best and worst are the same text,
    or when their rewards differ by less than `min_margin`.
    """
    pairs: list[Row] = []
    counts: Counter[str] = Counter()
    for uuid, group in groupby(responses, key=lambda row: row["uuid"]):
        scored = [(row, reward) for row in group if (reward := rewards.get((uuid, row["sample"]))) is not None]
        outcome, pair = _pair(scored, min_margin)
        counts[outcome] += 1
        if pair:
            pairs.append(pair)
    return pairs, counts


def _pair(scored: list[tuple[Row, float]], min_margin: float) -> tuple[str, Row | None]:
    if len(scored) < 2:
        return "too few responses", None
    best, high = max(scored, key=lambda pair: pair[1])
    worst, low = min(scored, key=lambda pair: pair[1])
    if best["response"] == worst["response"]:
        return "all alike", None
    if high - low < min_margin:
        return "margin too small", None
    return "paired", {
        "uuid": best["uuid"],
        "prompt": [{"role": "user", "content": best["instruction"]}],
        "chosen": [{"role": "assistant", "content": best["response"]}],
        "rejected": [{"role": "assistant", "content": worst["response"]}],
        "chosen_reward": high,
        "rejected_reward": low,
    }
