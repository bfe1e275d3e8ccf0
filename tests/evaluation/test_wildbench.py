"""WildBench: the published rows come out of the published judgments and counts."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magpie_align.errors import StageError
from magpie_align.evaluation.judging.wildbench import macro_interval
from magpie_align.evaluation.wildbench import WEIGHTS, groups, macro, reward, wb_reward, wb_score


def test_the_published_score_row(realdata: Path) -> None:
    file = realdata / "wildbench/v2.0625__gpt-4o-2024-05-13__gemma-2b-it.json.gz"
    found = wb_score(json.loads(gzip.decompress(file.read_bytes())))
    row = json.loads((realdata / "wildbench/score_rows.json").read_text())["gemma-2b-it"]
    assert (found.score, found.adjusted, found.total, found.avg_len, found.failed) == (
        row["score"], row["adjusted_score"], row["total"], row["avg_len"], ()
    )  # fmt: skip


def test_published_task_averages(realdata: Path) -> None:
    for row in json.loads((realdata / "wildbench/score_rows.json").read_text()).values():
        assert macro(row["task_categorized_scores"]) == pytest.approx(row["task_macro_score"], abs=1e-12)


def test_published_rewards(realdata: Path) -> None:
    rows = json.loads((realdata / "wildbench/pairwise-gpt4t-K=500.json").read_text())
    assert len(rows) > 40
    for row in rows.values():
        counts = {name: row[name] for name in ("win_much", "win", "tie", "lose", "lose_much")}
        assert reward(counts, row["total"]) == row["reward"]  # type: ignore[arg-type]
        found = {task: reward(counts) for task, counts in row["task_categorized_results"].items()}
        assert found == row["task_categorized_rewards"]
        assert macro(found) == pytest.approx(row["task_macro_reward"], abs=1e-12)


def pair(
    winner: str | None, extent: int | None, own: int = 100, other: int = 100, session: str = "s"
) -> dict[str, Any]:
    return {
        "session_id": session, "winner": winner, "extent": extent, "model_outputs": {"m": "x" * own, "r": "x" * other}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("judgment", "label"),
    [
        (pair("m", 2), "win_much"),
        (pair("m", 2, own=9999), "win_much"),
        (pair("m", 1), "win"),
        (pair("m", 1, own=600), "win"),
        (pair("m", 1, own=601), "tie"),
        (pair("r", 1, own=601), "lose"),
        (pair("r", 1, other=601), "tie"),
        (pair("r", 2, other=601), "lose_much"),
        (pair("tie", 0), "tie"),
    ],
)
def test_the_length_rule(judgment: dict[str, Any], label: str) -> None:
    found = wb_reward([judgment], "m", "r", margin=500)
    assert [name for name, count in found.counts.items() if count] == [label]


def test_without_the_length_rule() -> None:
    assert wb_reward([pair("m", 1, own=9999)], "m", "r", margin=None).reward == 0.5


def test_cut_and_empty_answers_are_in_the_total_alone() -> None:
    cut, empty = pair("m", 2), pair("r", 2)
    cut["model_outputs"]["m"] = "so ... (truncated)"
    empty["model_outputs"]["r"] = "[This model response is empty.]"
    found = wb_reward([pair("m", 2), cut, empty, pair("m", 2)], "m", "r")
    assert (found.reward, found.total, found.counts["win_much"], found.avg_len) == (0.5, 4, 2, 100)


def test_tasks() -> None:
    assert groups("Math", ["Data Analysis", "Editing"]) == ("Math & Data Analysis", "Creative Tasks")
    with pytest.raises(StageError, match="no task tag 'Maths'; it has: Information seeking, "):
        groups("Maths", [])
    tasks = {"a": groups("Math", []), "b": groups("Math", ["Editing"])}
    found = wb_score([{"session_id": s, "score": v, "model_output": "x"} for s, v in (("a", "7"), ("b", 4))], tasks)
    assert found.tasks == {"Math & Data Analysis": 1, "Creative Tasks": -2}
    assert found.task_macro is None
    rewards = wb_reward([pair("m", 1, session="a"), pair("r", 2, session="b")], "m", "r", tasks=tasks)
    assert rewards.tasks == {"Math & Data Analysis": -0.25, "Creative Tasks": -1}


def test_95_percent_of_the_intervals_of_the_task_average_hold_the_truth() -> None:
    """Tasks of unlike sizes, weights and rewards, a third of the sessions in two of them."""
    random, names = np.random.default_rng(3), list(WEIGHTS)
    tasks = [[names[i % 5]] + [names[(i + 2) % 5]] * (i % 3 == 0 and i % 15 != 0) for i in range(200)]
    chances = np.array([0.2 + 0.1 * names.index(own[0]) for own in tasks])
    means = {name: np.mean([2 * p - 1 for p, own in zip(chances, tasks, strict=True) if name in own]) for name in names}
    truth, held, rounds = macro({name: float(mean) for name, mean in means.items()}), 0, 1000
    for _ in range(rounds):
        drawn = random.integers(200, size=200)
        known = {str(i): tasks[n] for i, n in enumerate(drawn)}
        values = {str(i): 1.0 if won else -1.0 for i, won in enumerate(random.random(200) < chances[drawn])}
        low, high = macro_interval(values, known, rounds=400)
        held += low <= truth <= high
    assert 0.93 <= held / rounds <= 0.97


def test_failures_are_listed_and_in_no_figure() -> None:
    judgments = [
        {"session_id": f"s{i}", "score": v, "model_output": "x"} for i, v in enumerate(["3", None, "N/A", 11, "5"])
    ]
    found = wb_score(judgments)
    assert (found.score, found.total, found.failed) == (4, 2, ("s1", "s2", "s3"))
    pairs = wb_reward(
        [pair("m", 2), pair("someone", 2, session="t"), pair("m", None, session="u"), pair(None, None, session="v")],
        "m",
        "r",
    )
    assert (pairs.reward, pairs.total, pairs.counts["tie"], pairs.failed) == (1, 1, 0, ("t", "u", "v"))
    with pytest.raises(StageError, match="none of 1 judgments has a score"):
        wb_score(judgments[1:2])
    with pytest.raises(StageError, match="none of 1 judgments names m, r or a tie"):
        wb_reward([pair(None, 1)], "m", "r")


def test_judgments_of_something_else() -> None:
    with pytest.raises(StageError, match="compares m and r, not m and gpt-4; name its two models"):
        wb_reward([pair("m", 1)], "m", "gpt-4")
    with pytest.raises(StageError, match="session s is not in the question set"):
        wb_reward([pair("m", 1)], "m", "r", tasks={"t": ["Creative Tasks"]})
