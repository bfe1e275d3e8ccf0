"""Scores of several models: in one table only with one key, compared on the same items, with what went wrong beside them."""

from typing import Any

import pytest

from magpie_align.errors import StageError
from magpie_align.evaluation.scored import Scored
from magpie_align.evaluation.standing import comparisons, difference, mishaps, shown, tables
from magpie_align.records import Score


def scored(right: int, n: int = 40, task: str = "quiz", start: int = 0, **key: Any) -> Scored:
    """`right` of `n` items right, the first ones from `start` on."""
    items = {f"{task}/{i}": float(start <= i < start + right) for i in range(n)}
    return Scored(Score("", task, "acc", right / n, 0.0, 1.0, n), {"shots": 5, **key}, items)


def test_models_measured_alike_stand_in_one_table() -> None:
    models = {"a": [scored(10), scored(5, task="more")], "b": [scored(20)], "c": [scored(3, task="else", judge="x")]}
    (table,) = tables(shown(models)).items()
    assert table[0] == ""
    assert [(s.model, s.task, s.value) for s in table[1]] == [
        ("a", "quiz", 0.25), ("a", "more", 0.125), ("b", "quiz", 0.5), ("c", "else", 0.075),
    ]  # fmt: skip


def test_two_judges_never_share_a_table() -> None:
    models = {
        "gpt": [scored(10, judge="gpt-4-1106-preview")],
        "local": [scored(30, judge="local/judge-7b")],
        "again": [scored(12, judge="gpt-4-1106-preview")],
        "chat": [scored(9, judge="local/judge-7b", questions="sha256:1")],
    }
    found = {words: [s.model for s in scores] for words, scores in tables(shown(models)).items()}
    assert found == {
        "": ["gpt", "again"],
        "where judge is local/judge-7b": ["local"],
        "where judge is local/judge-7b, questions is sha256:1": ["chat"],
    }
    assert comparisons(shown(models), "gpt")[0].comparison.run == "again"
    assert len(comparisons(shown(models), "gpt")) == 1


def test_scores_without_touched_questions_stand_apart() -> None:
    """With and without are both shown, each in its table."""
    without = scored(9, 38, without="questions in the training data")
    models = {
        "SFT": [scored(10)],
        "SFT, untouched": [without],
        "Base": [scored(4)],
        "Base, chat": [scored(5, chat=True)],
    }
    found = {words: [s.model for s in scores] for words, scores in tables(shown(models)).items()}
    assert found == {
        "": ["SFT", "Base"],
        "without questions in the training data": ["SFT, untouched"],
        "where chat is True": ["Base, chat"],
    }
    (only,) = list(tables(shown({"a": [without], "b": [scored(10)]})))[1:]
    assert only == "with all questions"


def test_parts_of_groups_are_not_shown() -> None:
    part = Scored(Score("", "mmlu_anatomy", "acc", 0.5, 0.4, 0.6, 9), part_of="mmlu")
    assert [one.score.task for one in shown({"a": [scored(1), part]})["a"]] == ["quiz"]


def test_comparisons_are_corrected_together() -> None:
    models = shown({"base": [scored(0)], "little": [scored(6)], "much": [scored(20)], "worse": [scored(0, task="x")]})
    little, much = comparisons(models, "base")
    assert (little.comparison.p, little.comparison.comparisons) == (2 / 2**6, 2)
    assert little.comparison.words == "better, p = 0.031, corrected for 2 comparisons"
    assert difference(much.comparison).startswith("+50.0 [+35.0, +65.0] better, p < 0.001")
    assert {c.comparison.method for c in (little, much)} == {"exact McNemar"}
    (alone,) = comparisons(shown({"base": [scored(4)], "same": [scored(4, start=2)]}), "base")
    assert difference(alone.comparison).endswith("no difference shown")
    with pytest.raises(StageError, match="compare_with: there is no model 'bas'; did you mean 'base'"):
        comparisons(models, "bas")


def test_what_went_wrong_is_told_once_a_task() -> None:
    score, counts = Score("", "gen", "strict", 0.1, 0, 1, 50), {"truncated": 3, "empty": 0, "lost": 1}
    both = [Scored(score, {"items": 60}, counts=counts), Scored(score, {"items": 60}, counts=counts)]
    assert mishaps({"a": both, "b": [scored(1)]}) == [
        ("a", "gen", "answers cut at the token limit", 3, 60),
        ("a", "gen", "lost", 1, 60),
    ]
