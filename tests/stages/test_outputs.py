"""Answers to question sets: every form read, turns answered in order, what went wrong counted, kills without loss."""

import json
from pathlib import Path
from typing import Any

import pytest

from magpie_align.engines.scripted import ScriptedEngine
from magpie_align.errors import StageError
from magpie_align.flow.progress import Progress
from magpie_align.flow.stage import Context
from magpie_align.flow.table import Shard, read_rows
from magpie_align.recipe import check, stage_class
from tests.evaluation import question_files
from tests.stages.stand import Stand
from tests.synthesis.families import family


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    family("llama-3").save_pretrained(folder)
    (folder / "config.json").write_text("{}")
    return str(folder)


def speaking(model: str, script: str, **settings: Any) -> dict[str, Any]:
    engine = {"kind": "scripted", "script": f"tests.evaluation.speakers:{script}"}
    return {"model": model, "engine": engine, "max_tokens": 60, **settings}


def test_the_official_form(stand: Stand, model: str, tmp_path: Path) -> None:
    questions = question_files.alpaca(tmp_path)
    made = stand.run("answers", "outputs", questions=questions, **speaking(model, "exact"))
    assert (made.summary["questions"], made.summary["ok"]) == (8, 8)
    official = json.loads((made.out / "model_outputs.json").read_text())
    assert official[3] == {
        "dataset": "vicuna", "instruction": "Say x 3 times.", "output": "x x x .", "generator": model
    }  # fmt: skip
    told = json.loads((made.out / "outputs.json").read_text())
    assert told["decoding"] == {"temperature": 0, "top_p": 1, "repetition_penalty": 1.2, "max_tokens": 60}


def test_every_turn_sees_the_ones_before(stand: Stand, model: str, tmp_path: Path) -> None:
    heat = {"temperatures": {"writing": 0.7}}
    made = stand.run(
        "turns", "outputs", questions=question_files.mt_bench(tmp_path), **speaking(model, "historian", **heat)
    )
    rows = stand.rows("turns")
    assert [row["question_id"] for row in rows] == [str(81 + i) for i in range(6)]
    for i, row in enumerate(rows):
        how = "greedy" if i % 3 else "drawn"
        assert row["answers"] == [f"1 0 {how}", f"2 1 {how}"]
    assert json.loads((made.out / "outputs.json").read_text())["decoding"]["temperature"] == "0; writing 0.7"
    assert not (made.out / "model_outputs.json").exists()
    wild = question_files.wildbench(tmp_path)
    stand.run("wild", "outputs", questions=wild, **speaking(model, "historian"))
    assert [row["answers"][0] for row in stand.rows("wild")] == ["1 0 greedy", "2 1 greedy"] * 5


def test_what_went_wrong_is_counted_and_no_special_token_is_left(stand: Stand, model: str, tmp_path: Path) -> None:
    questions = question_files.alpaca(tmp_path, 6)
    made = stand.run("faulty", "outputs", questions=questions, **speaking(model, "faulty"))
    assert [row["statuses"] for row in stand.rows("faulty")] == [
        ["empty"], ["length"], ["special"], ["ok"], ["ok"], ["ok"]
    ]  # fmt: skip
    assert [row["answers"][0] for row in stand.rows("faulty")][2:4] == ["x x", "x x x"]
    assert {k: made.summary[k] for k in ("empty", "length", "special", "ok")} == {
        "empty": 1, "length": 1, "special": 1, "ok": 3
    }  # fmt: skip


def test_a_kill_loses_and_changes_nothing(
    stand: Stand, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = question_files.mt_bench(tmp_path)
    settings = speaking(model, "historian", chunk=4)
    stand.run("whole", "outputs", questions=questions, **settings)
    generate, done = ScriptedEngine.generate, []

    def killed(self: ScriptedEngine, requests: Any) -> Any:
        for completion in generate(self, requests):
            yield completion
            done.append(completion)
            if len(done) == 7:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "generate", killed)
        with pytest.raises(KeyboardInterrupt):
            stand.run("cut", "outputs", questions=questions, **settings)
    stand.again("cut", "outputs", questions=questions, **settings)
    assert stand.rows("cut") == stand.rows("whole")


def test_shards_make_the_same(stand: Stand, model: str, tmp_path: Path) -> None:
    settings = speaking(model, "historian", chunk=2) | {"questions": question_files.mt_bench(tmp_path)}
    whole = stand.run("whole", "outputs", **settings)
    stage = stage_class("outputs").model_validate(settings)
    folder = tmp_path / "sharded"
    inputs = {ref: Path(ref) for _, ref, _ in stage.refs()}
    for shard in (Shard(1, 2), Shard(0, 2), None):
        ctx = Context(folder / "data", folder / "work", inputs, Progress(folder / "progress.json"), shard)
        for part in (ctx.out, ctx.work):
            part.mkdir(parents=True, exist_ok=True)
        stage.run(ctx)
    assert list(read_rows(ctx.out)) == stand.rows("whole")
    assert ctx.summary == whole.summary and (ctx.out / "outputs.json").is_file()


def test_only_some(stand: Stand, model: str, tmp_path: Path) -> None:
    questions = question_files.alpaca(tmp_path)
    stand.run("few", "outputs", questions=questions, category="koala", limit=2, **speaking(model, "exact"))
    assert [row["question_id"] for row in stand.rows("few")] == ["0", "2"]
    with pytest.raises(StageError, match="holds no question of the category 'koal'; it has: koala, vicuna"):
        stand.run("none", "outputs", questions=questions, category="koal", **speaking(model, "exact"))


def test_errors_fail_the_stage_unless_allowed(stand: Stand, model: str, tmp_path: Path) -> None:
    questions = question_files.mt_bench(tmp_path, 3)
    settings = speaking(model, "exact")
    settings["engine"]["max_model_len"] = 30
    with pytest.raises(
        StageError, match=r"\d of 3 questions have no answer, more than max_errors 0 allows; the first: "
    ):
        stand.run("no", "outputs", questions=questions, **settings)
    made = stand.run("yes", "outputs", questions=questions, max_errors=1.0, **settings)
    assert made.summary["error"] and all(len(row["answers"]) == 2 for row in stand.rows("yes"))


def test_published_answers(stand: Stand, tmp_path: Path) -> None:
    questions = question_files.alpaca(tmp_path)
    answers = question_files.outputs(tmp_path, questions, "gpt", 1)
    made = stand.run("gpt", "published_outputs", answers=answers, questions=questions, temperature=0.7)
    assert stand.rows("gpt")[2]["answers"] == ["x x x ."] and made.summary["published"] == 8
    told = json.loads((made.out / "outputs.json").read_text())
    assert told["generator"] == "gpt" and told["decoding"] == {"temperature": 0.7, "repetition_penalty": None}


def test_questions_that_are_none(stand: Stand, model: str, tmp_path: Path) -> None:
    odd = tmp_path / "odd.json"
    odd.write_text('[{"text": "Hm?"}]')
    with pytest.raises(StageError, match="odd.json record 0 is no question of AlpacaEval .*; it has the columns text"):
        stand.run("odd", "outputs", questions=str(odd), **speaking(model, "exact"))
    stages = {
        "a": {"use": "outputs", "model": model, "questions": "./nowhere.json", "engine": {"kind": "transformers"}}
    }
    with pytest.raises(Exception, match="there is no file or folder './nowhere.json'"):
        check({"name": "x", "stages": stages})
