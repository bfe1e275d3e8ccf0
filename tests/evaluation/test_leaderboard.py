"""Scores stand in one column only where they were measured alike; a printed number is reproduced only by an interval."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie_align.errors import ConfigError, StageError
from magpie_align.evaluation.leaderboard import Row, join, question_set_hash, verdict
from magpie_align.evaluation.published import PublishedRow, published_rows
from magpie_align.records import Score

PUBLISHED = published_rows()


def of(model: str, task: str, metric: str, **key: Any) -> PublishedRow:
    (found,) = [
        p for p in PUBLISHED
        if (p.model, p.task, p.metric) == (model, task, metric) and key.items() <= p.key.items()
    ]  # fmt: skip
    return found


FILTERED = of("Magpie-Pro filtered", "alpaca_eval", "win_rate", baseline="gpt4_1106_preview")


def row(
    value: float = 0.29, half: float = 0.026, *, answers: str | None = None, settings: Any = None, **key: Any
) -> Row:
    """Our own win rate against GPT-4-Turbo, measured as in the paper except for what `key` says."""
    score = Score("ours", "alpaca_eval", "win_rate", value, value - half, value + half, 805)
    return Row(score, {**FILTERED.key, **key}, settings or {}, answers)


def test_what_is_measured_alike_shares_a_column_with_the_paper() -> None:
    (column,) = join([row(0.29), row(0.3)], PUBLISHED)
    assert [r.score.value for r in column.rows] == [0.29, 0.3]
    assert {p.model for p in column.published} >= {
        "Magpie-Pro filtered",
        "WildChat",
        "Magpie-Pro-MT",
    }
    assert {p.key["baseline"] for p in column.published} == {"gpt4_1106_preview"}
    assert column.apart == ()


def test_two_judges_never_share_a_column_nor_a_local_one_that_of_gpt4() -> None:
    gpt4, local, other = join([row(), row(judge="local/judge-7b"), row(judge="local/judge-70b")], PUBLISHED)
    assert gpt4.published
    assert not local.published and not other.published
    assert local.apart == ("judge is local/judge-7b, published with gpt-4-1106-preview",)
    assert len(local.rows) == len(other.rows) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("judge_prompt", "ours"),
        ("baseline", "gpt-4"),
        ("temperature", 0.7),
        ("repetition_penalty", 1),
        ("questions", "sha256:0"),
    ],
)
def test_every_field_of_the_key_counts(field: str, value: Any) -> None:
    (column,) = join([row(**{field: value})], PUBLISHED)
    assert not column.published
    assert column.apart == (f"{field} is {value}, published with {FILTERED.key[field]}",)


def test_versions_part_own_rows_and_are_listed_beside_the_papers() -> None:
    old, new = join([row(version="0.6.5"), row(version="0.6.6", answers="Magpie-Pro filtered")], PUBLISHED)
    assert old.published == new.published != ()
    (answer,) = new.answers
    assert answer is not None
    assert "version is 0.6.6, and the source does not say its own" in answer.differs


small = st.fixed_dictionaries(
    {
        "judge": st.sampled_from(["gpt-4-1106-preview", "local"]),
        "temperature": st.sampled_from([0, 0.0, 1.0]),
        "version": st.sampled_from(["1", "2"]),
    }
)


@given(st.lists(small, max_size=12))
def test_each_row_is_in_one_column_and_a_column_has_one_key(keys: list[dict[str, Any]]) -> None:
    rows = [row(i / 100, **key) for i, key in enumerate(keys)]
    columns = join(rows, PUBLISHED)
    assert sorted(r.score.value for c in columns for r in c.rows) == [r.score.value for r in rows]
    for column in columns:
        assert all(r.key == column.key for r in column.rows)
        assert all(p.key.items() <= column.key.items() for p in column.published)
        assert bool(column.published) != bool(column.apart)
    assert len({frozenset(c.key.items()) for c in columns}) == len(columns)


@pytest.mark.parametrize(
    ("value", "half", "expected", "reason"),
    [
        (0.29, 0.026, "reproduced", "-0.5 points, within 3.7 by chance"),
        (0.2947, 0.0, "reproduced", "+0.0 points, within 2.6 by chance"),
        (0.24, 0.026, "not reproduced", "-5.5 points, more than the 3.7 of chance"),
        (0.36, 0.026, "not reproduced", "+6.5 points, more than the 3.7 of chance"),
        (0.29, 0.1, "inconclusive", "-0.5 points, within 10.3 by chance: too few items to tell"),
        (0.29, float("inf"), "inconclusive", "-0.5 points, within inf by chance: too few items to tell"),
    ],
)
def test_verdicts(value: float, half: float, expected: str, reason: str) -> None:
    assert verdict(row(value, half).score, FILTERED) == (expected, reason)


def test_the_side_of_the_interval_that_faces_the_printed_number_counts() -> None:
    score = Score("ours", "alpaca_eval", "win_rate", 0.24, 0.10, 0.241, 805)
    assert verdict(score, FILTERED)[0] == "not reproduced"
    assert verdict(Score("ours", "alpaca_eval", "win_rate", 0.24, 0.239, 0.30, 805), FILTERED)[0] == "inconclusive"


def test_an_answer_lists_every_setting_that_differs() -> None:
    settings = {**FILTERED.settings, "learning_rate": 1e-5, "seed": 3}
    del settings["packing"]
    (column,) = join([row(answers="Magpie-Pro filtered", settings=settings)], PUBLISHED)
    (answer,) = column.answers
    assert answer is not None
    assert (answer.published, answer.verdict) == (FILTERED, "reproduced")
    assert answer.differs == (
        "learning_rate is 1e-05, published with 2e-05",
        "packing is not said, published with True",
        "seed is 3, and the source does not say its own",
    )


def test_what_is_not_measured_alike_answers_nothing() -> None:
    (column,) = join([row(judge="local", answers="Magpie-Pro filtered", settings=FILTERED.settings)], PUBLISHED)
    (answer,) = column.answers
    assert answer is not None
    assert answer.verdict == "inconclusive"
    assert answer.reason == "not measured alike: judge is local, published with gpt-4-1106-preview"
    assert answer.differs == ("judge is local, published with gpt-4-1106-preview",)


def test_shots_part_columns() -> None:
    score = Score("ours", "gsm8k", "exact_match strict-match", 0.48, 0.45, 0.51, 1319)
    measured = [(5, 1319), (0, 1319), (5, 100)]
    rows = [Row(score, {"harness": "lm-eval", "shots": s, "items": n, "chat_template": True}) for s, n in measured]
    five, zero, few = join(rows, PUBLISHED)
    assert len(five.published) == 11
    assert zero.apart == ("shots is 0, published with 5",)
    assert few.apart == ("items is 100, published with 1319",)


def test_rows_that_cannot_be_placed() -> None:
    with pytest.raises(
        StageError, match="alpaca_eval score of ours does not say its judge, so it can stand beside no other"
    ):
        join([row(judge=None)], PUBLISHED)
    with pytest.raises(StageError, match="decoding in the key of the alpaca_eval score of ours is no plain value"):
        join([row(decoding={"top_p": 1})], PUBLISHED)
    with pytest.raises(
        StageError,
        match="answers 'Magpie-Pro filterd', of which nothing is published; did you mean 'Magpie-Pro filtered'",
    ):
        join([row(answers="Magpie-Pro filterd")], PUBLISHED)


def test_a_benchmark_of_which_nothing_is_published() -> None:
    score = Score("ours", "mini_gen", "exact_match", 0.4, 0.3, 0.5, 100)
    (column,) = join([Row(score, {"shots": 0}, answers="Magpie-Pro filtered")], PUBLISHED)
    assert (column.published, column.apart, column.answers) == ((), (), (None,))


def test_the_papers_numbers() -> None:
    assert (FILTERED.value, FILTERED.error, FILTERED.source) == (0.2947, 0.0135, "arXiv 2406.08464 v2, table 1")
    assert of("Magpie-Pro filtered", "alpaca_eval", "lc_win_rate", baseline="Meta-Llama-3-8B-Instruct").value == 0.5212
    assert of("Magpie-Pro-MT", "arena_hard", "score").value == 0.204
    assert of("OpenHermes 2.5", "mean_of_table_3", "mean").value == 0.6624
    assert of("Llama-3-8B-Instruct", "wildbench", "task_macro").value == pytest.approx(0.292)
    judged = [p for p in PUBLISHED if p.task in ("alpaca_eval", "arena_hard", "wildbench")]
    assert all({"judge", "judge_prompt", "temperature"} <= p.key.keys() for p in judged)
    assert all(0 < p.value < 1 for p in PUBLISHED)


def test_printed_means_are_those_of_their_rows_but_one() -> None:
    tasks = ("mmlu", "arc_challenge", "hellaswag", "truthfulqa_mc2", "winogrande", "gsm8k", "mmlu_redux_generative")
    odd = []
    for mean in [p for p in PUBLISHED if p.metric == "mean"]:
        values = [p.value for p in PUBLISHED if p.task in tasks and p.model == mean.model]
        assert len(values) == 7
        if abs(sum(values) / 7 - mean.value) > 0.0002:
            odd.append(mean.model)
    assert odd == ["OpenHermes 2.5"]


def test_question_sets_are_those_of_the_real_files(realdata: Path) -> None:
    reference = json.loads(
        gzip.decompress((realdata / "alpaca_eval/reference_gpt4_1106_preview.model_outputs.json.gz").read_bytes())
    )
    questions = [record["instruction"] for record in reference]
    assert question_set_hash(questions) == question_set_hash(reversed(questions)) == FILTERED.key["questions"]
    assert question_set_hash(questions[1:]) != FILTERED.key["questions"]
    lines = gzip.decompress((realdata / "arena_hard/v0.1_question.jsonl.gz").read_bytes()).splitlines()
    arena = of("Magpie-Pro filtered", "arena_hard", "score")
    assert question_set_hash(json.loads(line)["prompt"] for line in lines) == arena.key["questions"]


def test_the_official_models_row_is_the_official_boards(realdata: Path) -> None:
    """So it was decoded as the board decodes, and stands in no column with the paper's greedy rows."""
    with (realdata / "alpaca_eval/leaderboard_rows.csv").open() as stream:
        (board,) = [r for r in csv.DictReader(stream) if r[""] == "Meta-Llama-3-8B-Instruct"]
    for metric, name in (("win_rate", "win_rate"), ("lc_win_rate", "length_controlled_winrate")):
        official = of("Llama-3-8B-Instruct", "alpaca_eval", metric)
        assert official.value == pytest.approx(float(board[name]) / 100, abs=5e-5)
        assert official.error == pytest.approx(float(board["standard_error"]) / 100, abs=5e-5)
    (column,) = join([row()], PUBLISHED)
    assert "Llama-3-8B-Instruct" not in {p.model for p in column.published}


def test_the_wildbench_card_is_the_official_row(realdata: Path) -> None:
    official = json.loads((realdata / "wildbench/score_rows.json").read_text())["Meta-Llama-3-8B-Instruct"]
    assert of("Llama-3-8B-Instruct", "wildbench", "task_macro").value == pytest.approx(
        official["task_macro_score"] / 10, abs=5e-5
    )


def test_bad_files(tmp_path: Path) -> None:
    file = tmp_path / "rows.yaml"
    columns = "columns: {c: {task: t, metrics: [a, b], error: none, key: {judge: j}}}\n"
    file.write_text(columns + "tables: [{source: s, columns: [c], rows: {m: {values: [1]}}}]")
    with pytest.raises(ConfigError, match="'m' of s has 1 values for 2 metrics"):
        published_rows(file)
    table = "{source: s, columns: [c], rows: {m: {values: [1, 2]}}}"
    file.write_text(columns + f"tables: [{table}, {table}]")
    with pytest.raises(ConfigError, match="has t a of 'm' twice with one key"):
        published_rows(file)
