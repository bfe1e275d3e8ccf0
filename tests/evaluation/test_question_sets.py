"""The published question sets and answers are read as they are; published verdicts, put before us as a judge's, give published scores."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie_align.errors import StageError
from magpie_align.evaluation.arena_hard import VERDICTS
from magpie_align.evaluation.judging import alpaca_eval, arena_hard, mt_bench, wildbench
from magpie_align.evaluation.judging.cases import Key, Verdict, drawn_first
from magpie_align.evaluation.leaderboard import question_set_hash
from magpie_align.evaluation.length_control import read_calibration
from magpie_align.evaluation.outputs import Output, pair_up, published
from magpie_align.evaluation.published import published_rows
from magpie_align.evaluation.question_sets import Question, answered, pack, question, unpack
from magpie_align.records import Message


def records(file: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.strip().split("\n")]


def questions(file: Path) -> list[Question]:
    return [question(record, n, file.name) for n, record in enumerate(records(file))]


def key_of(task: str) -> str:
    (found,) = {row.key["questions"] for row in published_rows() if row.task == task and "questions" in row.key}
    return str(found)


def test_the_papers_question_sets_are_known(realdata: Path) -> None:
    alpaca = questions(realdata / "alpaca_eval/reference_gpt4_1106_preview.model_outputs.json.gz")
    assert len(alpaca) == 805 and question_set_hash(one.text for one in alpaca) == key_of("alpaca_eval")
    assert [one.id for one in alpaca[:2]] == ["0", "1"] and alpaca[0].category == "helpful_base"
    arena = questions(realdata / "arena_hard/v0.1_question.jsonl.gz")
    assert len(arena) == 500 and question_set_hash(one.text for one in arena) == key_of("arena_hard")
    newer = questions(realdata / "arena_hard/v2.0_question.jsonl.gz")
    assert {one.category for one in newer} == {"hard_prompt", "creative_writing"}
    chat = questions(realdata / "mt_bench/mt_bench_question.jsonl")
    assert len(chat) == 80 and {len(one.turns) for one in chat} == {2} and chat[0].id == "81"


def test_published_answers_are_read_and_matched(realdata: Path) -> None:
    arena = questions(realdata / "arena_hard/v0.1_question.jsonl.gz")
    rows, name = published(records(realdata / "arena_hard/v0.1_gpt-4-0314.model_answer.jsonl.gz"), arena, "gpt-4-0314")
    assert (len(rows), name) == (500, "gpt-4-0314") and all(len(row["answers"]) == 1 for row in rows)
    alpaca = questions(realdata / "alpaca_eval/reference_gpt4_1106_preview.model_outputs.json.gz")
    answers = records(realdata / "alpaca_eval/Meta-Llama-3-8B-Instruct.model_outputs.json.gz")
    rows, name = published(answers, alpaca, "llama")
    assert name == "Meta-Llama-3-8B-Instruct" and [row["answers"][0] for row in rows] == [a["output"] for a in answers]
    with pytest.raises(StageError, match="llama has no answer to every turn of question 804 "):
        published(answers[:-1], alpaca, "llama")
    with pytest.raises(
        StageError, match="llama answers the question 'What are the names of some famous actors' 2 times"
    ):
        published([*answers, answers[0]], alpaca, "llama")
    with pytest.raises(StageError, match="llama holds answers of 2 models .Meta-Llama-3-8B-Instruct, another."):
        published([*answers[:-1], answers[-1] | {"generator": "another"}], alpaca, "llama")


def test_reference_answers_stand_beside_their_questions(realdata: Path) -> None:
    chat = questions(realdata / "mt_bench/mt_bench_question.jsonl")
    outputs = [Output(one, ("a", "b"), ("ok", "ok"), (1, 1), "m") for one in chat]
    references = records(realdata / "mt_bench/mt_bench_reference_answer_gpt-4.jsonl")
    beside = mt_bench.with_references(outputs, references, "references")
    prompts = [case.prompt for case in mt_bench.cases(beside, 1)]
    assert {name: prompts.count(name) for name in mt_bench.PROMPTS} == {
        "first": 50, "second": 50, "first_with_reference": 30, "second_with_reference": 30
    }  # fmt: skip
    assert {o.question.category for o in beside if o.question.references} == {"math", "reasoning", "coding"}


def replayed(annotations: list[dict[str, Any]]) -> tuple[Any, dict[Key, Verdict]]:
    """Outputs and verdicts as they would be had the published judge been asked by us."""
    pairs, verdicts = [], {}
    for n, one in enumerate(annotations):
        asked = Question(str(n), (one["instruction"],))
        sides = [Output(asked, (one[f"output_{i}"],), ("ok",), (1,), one[f"generator_{i}"]) for i in (2, 1)]
        pairs.append(tuple(sides))
        share = None if one["preference"] is None else float(one["preference"]) - 1
        value = share if share is None or drawn_first(asked) else 1 - share
        verdicts[Key(str(n), 1, 0)] = Verdict(value)
    return pairs, verdicts


@pytest.mark.parametrize("model", ["FuseChat-Llama-3.2-3B-Instruct"])
def test_published_preferences_give_the_published_row(realdata: Path, model: str) -> None:
    folder = realdata / "alpaca_eval"
    pairs, verdicts = replayed(records(folder / f"{model}.weighted_alpaca_eval_gpt4_turbo.annotations.json.gz"))
    with (folder / "leaderboard_rows.csv").open() as stream:
        (row,) = [r for r in csv.DictReader(stream) if r[""] == model]
    calibration = read_calibration(folder / "DERIVED_df_gamed_surrogate.csv"), "surrogate"
    found = alpaca_eval.score(pairs, verdicts, "drawn", "gpt-4-1106-preview", {}, {}, calibration)
    lc, plain = found.scored
    assert 100 * plain.score.value == pytest.approx(float(row["win_rate"]), abs=1e-9)
    assert 100 * lc.score.value == pytest.approx(float(row["length_controlled_winrate"]), abs=0.2)
    assert found.notes["n_wins"] == int(row["n_wins"]) and found.notes["n_draws"] == int(row["n_draws"])


def test_published_games_give_the_published_score(realdata: Path) -> None:
    verdicts, pairs = {}, []
    for line in records(realdata / "ko_arena_hard/gpt-4o-mini.jsonl"):
        asked = Question(str(line["question_id"]), ("?",))
        pairs.append(tuple(Output(asked, ("a",), ("ok",), (1,), name) for name in (line["model"], "baseline")))
        for number, game in enumerate(line["games"], 1):
            verdicts[Key(asked.id, number, 0)] = Verdict(*VERDICTS[game["score"]])
    with (realdata / "ko_arena_hard/no_control_rows.csv").open() as stream:
        (row,) = [r for r in csv.DictReader(stream) if r["model"] == "gpt-4o-mini"]
    found = arena_hard.score(pairs, verdicts, "ensemble", {}, {}, weight=3, drop="game")
    assert 100 * found.scored[0].score.value == pytest.approx(float(row["score"]), abs=0.005)


def test_published_ratings_give_the_published_score(realdata: Path) -> None:
    judged = records(realdata / "wildbench/v2.0625__gpt-4o-2024-05-13__gemma-2b-it.json.gz")
    row = json.loads((realdata / "wildbench/score_rows.json").read_text())["gemma-2b-it"]
    outputs, verdicts = [], {}
    for one in judged:
        cut = one["model_output"].endswith("... (truncated)")
        text = one["model_output"].removesuffix("... (truncated)")
        outputs.append(Output(Question(one["session_id"], ("?",)), (text,), ("length" if cut else "ok",), (1,), "m"))
        verdicts[Key(one["session_id"], 1, 0)] = Verdict(float(one["score"]))
    found = wildbench.score(outputs, verdicts, {}, {})
    assert 10 * found.scored[0].score.value == pytest.approx(row["score"], abs=1e-9)
    assert found.notes["avg_len"] == pytest.approx(row["avg_len"], abs=1)


words = st.text(max_size=20)


@given(
    st.builds(
        Question,
        id=words,
        turns=st.lists(words, min_size=1, max_size=3).map(tuple),
        history=st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), words), max_size=3).map(tuple),
        category=words,
        tags=st.lists(words, max_size=3).map(tuple),
        checklist=st.lists(words, max_size=3).map(tuple),
        references=st.lists(words, max_size=2).map(tuple),
    )
)
def test_what_is_packed_is_unpacked(asked: Question) -> None:
    assert unpack(pack(asked)) == asked


def test_answers_of_no_form() -> None:
    with pytest.raises(
        StageError, match="file record 3 is no published answer of .*: it has no 'output'; its columns are text"
    ):
        answered({"text": "?"}, 3, "file")
    one, other = (Output(Question("1", (text,)), ("a",), ("ok",), (1,), "m") for text in ("this?", "that?"))
    with pytest.raises(StageError, match="the baseline m does not answer question 1 .'this\\?'. of m"):
        pair_up([one], [other])
