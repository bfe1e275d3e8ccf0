"""Intervals equal scipy's and hold what they promise."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from magpie_align.evaluation.intervals import interval, stratified, wilson
from magpie_align.evaluation.samples import scored_means
from magpie_align.evaluation.scored import Scored
from magpie_align.records import Score


@given(n=st.integers(1, 2000), share=st.floats(0, 1))
def test_wilson_is_scipys(n: int, share: float) -> None:
    right = round(share * n)
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    low, high = wilson(right, n)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= right / n <= high <= 1


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=50))
def test_other_means_are_scipys(values: list[float]) -> None:
    if all(v in (0, 1) for v in values):
        return
    mean, low, high = interval(values)
    error = stats.sem(values)
    assert mean == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert (low, high) == pytest.approx((mean - 1.959964 * error, mean + 1.959964 * error), abs=1e-4)


def test_95_percent_of_intervals_hold_the_truth() -> None:
    rng = random.Random(0)
    for truth in (0.05, 0.3, 0.7):
        held = 0
        for _ in range(4000):
            _, low, high = interval([float(rng.random() < truth) for _ in range(200)])
            held += low <= truth <= high
        assert 0.93 <= held / 4000 <= 0.97


def test_too_little_to_go_by() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert interval([0.5]) == (0.5, -math.inf, math.inf)


def test_one_stratum_is_the_interval_of_its_items() -> None:
    right = [1.0] * 31 + [0.0] * 19
    low, high = stratified([right])
    assert (low, high) == pytest.approx(interval(right)[1:], abs=0.004)  # n - 1 in place of n
    assert stratified([[1.0], [0.0], [1.0]]) == interval([1.0, 0.0, 1.0])[1:]
    assert stratified([[1.0, 1.0], [0.0, 0.0]]) == interval([1.0, 1.0, 0.0, 0.0])[1:]


def test_the_error_of_a_group_is_lm_evals() -> None:
    from lm_eval.api.metrics import mean_stderr, pooled_sample_stderr

    strata = [[1.0, 0.5, 0.25, 0.0], [0.0, 0.125, 0.75], [0.5, 0.625, 1.0, 1.0, 0.875]]
    error = pooled_sample_stderr([mean_stderr(s) for s in strata], [len(s) for s in strata])
    low, high = stratified(strata)
    assert (high - low) / 2 / 1.959964 == pytest.approx(error, rel=1e-6)


def test_95_percent_of_the_intervals_of_groups_hold_the_truth() -> None:
    """Subjects of unlike sizes and difficulty, as MMLU has."""
    rng = random.Random(1)
    subjects = [(20, 0.9), (35, 0.75), (60, 0.5), (25, 0.3), (60, 0.65)]
    truth = sum(n * p for n, p in subjects) / 200
    held = 0
    for _ in range(3000):
        low, high = stratified([[float(rng.random() < p) for _ in range(n)] for n, p in subjects])
        held += low <= truth <= high
    assert 0.93 <= held / 3000 <= 0.97


def test_95_percent_of_the_intervals_of_means_of_scores_hold_the_truth() -> None:
    """Tasks of unlike sizes and difficulty, as the mean of the paper's table 3 has."""
    rng = random.Random(2)
    tasks = [(200, 0.9), (60, 0.5), (120, 0.3)]
    truth, held = (0.9 + 0.5 + 0.3) / 3, 0
    for _ in range(3000):
        scored = []
        for task, (n, p) in enumerate(tasks):
            found = interval([float(rng.random() < p) for _ in range(n)])
            scored.append(Scored(Score("", str(task), "acc", *found, n), {"items": n}))
        (mean,) = scored_means({"all": ["0 acc", "1 acc", "2 acc"]}, scored, {})
        held += mean.score.low <= truth <= mean.score.high
    assert 0.93 <= held / 3000 <= 0.97
