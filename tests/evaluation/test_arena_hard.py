"""Arena-Hard: published scores come out of published verdicts; what no judge said is in no score."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie_align.errors import StageError
from magpie_align.evaluation.arena_hard import VERDICTS, Battle, battles, parse_verdict, score

MODELS = ("gpt-4o-mini", "command-r7b-12-2024", "qwen-2.5-7b-instruct")


@pytest.fixture(scope="session")
def verdicts(realdata: Path) -> list[dict[str, Any]]:
    files = [realdata / "ko_arena_hard" / f"{model}.jsonl" for model in MODELS]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture(scope="session")
def published(realdata: Path) -> dict[str, dict[str, str]]:
    with (realdata / "ko_arena_hard/no_control_rows.csv").open() as stream:
        return {row["model"]: row for row in csv.DictReader(stream)}


def rating(percent: float) -> float:
    """On the scale where the baseline has 1000: 400 log10 of the odds against it above that."""
    return 1000 + 400 * math.log10(percent / (100 - percent))


@pytest.mark.parametrize("model", MODELS)
def test_published_scores(verdicts: list[dict[str, Any]], published: dict[str, dict[str, str]], model: str) -> None:
    games, failures = battles(verdicts)
    found, row = score(games)[model], published[model]
    assert not failures
    assert (found.n_questions, found.n_games) == (500, 1000)
    assert found.score == pytest.approx(float(row["score"]), abs=0.005)
    assert rating(found.score) == pytest.approx(float(row["elo_score"]), abs=0.01)


def test_published_intervals(verdicts: list[dict[str, Any]], published: dict[str, dict[str, str]]) -> None:
    """Theirs are percentiles of 100 rounds: a width is known to some tenth of itself.

    Their ratings are not anchored inside the bootstrap, so the baseline has bounds of its own, and a published lower win rate
    is the model's lower rating against the baseline's lower one. The three rows agree on what those are; put in, our
    intervals have the published width. The published ones are a third narrower than those of a model's chance to win.
    """
    games, _ = battles(verdicts)
    ours, columns = score(games, resample="battle"), ("025", "975")
    bounds = [
        [float(row[f"elo_rating_q{c}"]) - rating(float(row[f"rating_q{c}"])) for c in columns]
        for row in published.values()
    ]
    assert np.ptp(bounds, axis=0) == pytest.approx([0, 0], abs=0.7)
    shifts = np.mean(bounds, axis=0)
    for model, row in published.items():
        ends = [rating(end) for end in (ours[model].low, ours[model].high)]
        assert ends[1] - ends[0] == pytest.approx(
            float(row["elo_rating_q975"]) - float(row["elo_rating_q025"]), rel=0.25
        )
        rates = [100 / (1 + 10 ** (-(end - 1000 - shift) / 400)) for end, shift in zip(ends, shifts, strict=True)]
        width = float(row["rating_q975"]) - float(row["rating_q025"])
        assert rates[1] - rates[0] == pytest.approx(width, rel=0.25)


def test_the_closed_form_is_bradley_terry_by_maximum_likelihood(verdicts: list[dict[str, Any]]) -> None:
    from sklearn.linear_model import LogisticRegression

    games, _ = battles(verdicts)
    players = np.array([[float(game.model == model) for model in MODELS] for game in games])
    outcome, weight = np.array([g.outcome for g in games]), np.array([g.weight for g in games])
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, solver="newton-cholesky").fit(
        np.vstack([players, players]),
        np.repeat([1, 0], len(games)),
        np.concatenate([weight * outcome, weight * (1 - outcome)]),
    )
    for model, strength in zip(MODELS, fit.coef_[0], strict=True):
        assert score(games, rounds=10)[model].score == pytest.approx(100 / (1 + math.exp(-strength)), abs=1e-6)


def test_official_intervals_are_too_narrow_and_ours_hold_the_truth() -> None:
    """Questions of their own difficulty, decisive verdicts counted three times."""
    random = np.random.default_rng(0)
    held = {"question": 0, "battle": 0}
    rounds = 500
    for _ in range(rounds):
        chance = random.beta(0.5, 1.0, size=150)
        games = [
            Battle(f"q{i}", "m", float(random.random() < p), 3 if random.random() < 0.5 else 1)
            for i, p in enumerate(chance)
            for _ in range(2)
        ]
        for unit in held:
            found = score(games, resample=unit, rounds=600)["m"]  # type: ignore[arg-type]
            held[unit] += found.low <= 100 / 3 <= found.high
    assert 0.93 <= held["question"] / rounds <= 0.97
    assert held["battle"] / rounds < 0.87


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("My final verdict is: [[A>>B]].", "A>>B"),
        ("At first [[A>B]], but then it is wrong. [[B>>A]]", "B>>A"),
        ("[[b>a]]", "B>A"),
        ("[A=B]", "A=B"),
        ("tie [A=B] but finally [[A<<B]]", "A<<B"),
        ("[[A>C]] [[]] [[AB]]", None),
        ("I cannot judge this.", None),
        ("", None),
    ],
)
def test_verdicts(text: str, verdict: str | None) -> None:
    assert parse_verdict(text) == verdict


def test_version_0_1_refuses_a_text_of_two_minds() -> None:
    assert parse_verdict("[[A>B]] ... [[B>A]]", unanimous=True) is None
    assert parse_verdict("[[A>B]] ... [[A>B]]", unanimous=True) == "A>B"


def judgment(first: str | None, second: str | None, question: str = "q") -> dict[str, Any]:
    return {"question_id": question, "model": "m", "judge": "j", "games": [{"score": first}, {"score": second}]}


def test_seats_are_swapped_and_decisive_verdicts_weigh_three() -> None:
    games, _ = battles([judgment("A>>B", "A>B")])
    assert [(g.outcome, g.weight) for g in games] == [(0, 3), (1, 1)]
    assert score(games)["m"].score == 25


seats = st.sampled_from([*VERDICTS, None, "A>C", ""])


@given(st.lists(st.tuples(seats, seats), min_size=1, max_size=20))
def test_failures_are_listed_and_never_ties(pairs: list[tuple[str | None, str | None]]) -> None:
    records = [judgment(a, b, f"q{i}") for i, (a, b) in enumerate(pairs)]
    said = sum(v in VERDICTS for pair in pairs for v in pair)
    games, failures = battles(records)
    assert len(games) == said
    assert len(games) + len(failures) == 2 * len(pairs)
    assert sum(g.outcome == 0.5 for g in games) == sum(v in ("A=B", "B=A") for pair in pairs for v in pair)
    whole, _ = battles(records, drop="question")
    assert len(whole) == 2 * sum(a in VERDICTS and b in VERDICTS for a, b in pairs)


def test_missing_games_fail() -> None:
    _, failures = battles([{"uid": "x", "model": "m", "games": [None]}])
    assert [(f.question, f.game, f.verdict) for f in failures] == [("x", 1, None), ("x", 2, None)]
    with pytest.raises(StageError, match="no game has a verdict, so there is no score"):
        score([])
