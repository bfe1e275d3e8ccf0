"""The judged benchmarks end to end on a miniature: a judge behind a real `vllm serve`, one run by the stage itself, a reward model.

Models so small judge nothing: what is shown is that verdicts are the judge's own, that both ways of running it say the same, that
what it fails at is counted, and that no score is reported from failures.
"""

import json
import math
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from magpie_align.errors import StageError
from magpie_align.evaluation.scored import read_scored
from magpie_align.recipe import packaged
from tests.evaluation import question_files
from tests.evaluation.judge_server import judge_server
from tests.loop.test_loop import TINY
from tests.stages.stand import Stand
from tests.synthesis.families import family

LENGTH = 4096


def make_model(folder: Path, reward: bool = False) -> str:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    tokenizer = family("llama-3")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        initializer_range=0.2,
        **({"num_labels": 1} if reward else {}),
    )
    (LlamaForSequenceClassification if reward else LlamaForCausalLM)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def port(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    pytest.importorskip("vllm", reason="vllm is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "server.txt"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--served-model-name", "mini", "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--max-model-len", str(LENGTH), "--no-enable-chunked-prefill", "--dtype", "float32"]
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
    deadline = time.monotonic() + 1500
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"vllm serve did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.5)
    yield port
    process.terminate()
    process.wait(60)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.HTTPError:
        return False


def served(port: int) -> dict[str, Any]:
    endpoint = {"base_url": f"http://127.0.0.1:{port}/v1", "model": "mini", "mode": "chat", "concurrency": 8}
    return {"judge": "served/mini", "engine": {"kind": "openai", "endpoint": endpoint | {"timeout": 300}}}


def prompt(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((packaged("conf") / "judge_prompt" / f"{name}.yaml").read_text()))


def give_answers(stand: Stand, folder: Path, model: str, form: str, **ours: Any) -> dict[str, str]:
    """Answers to one question set, and other ones as a baseline: of two scripts, or as `ours` says."""
    common = {"model": model, "questions": getattr(question_files, form)(folder), "max_tokens": 12}
    for name, script in ((form, "uneven"), (f"{form}_base", "exact")):
        engine = {"kind": "scripted", "script": f"tests.evaluation.speakers:{script}"}
        heat = {"temperature": 1.0} if script == "exact" else {}
        stand.run(name, "outputs", **common, **({**ours, **heat} if ours else {"engine": engine}))
    return {"outputs": form, "baseline": f"{form}_base"}


def likely_labels(port: int, model: str) -> list[str]:
    """Two words that this judge does think of: its likeliest first tokens when it is asked the first question."""
    body = {"model": "mini", "max_tokens": 1, "logprobs": True, "top_logprobs": 20}
    said = [{"role": "user", "content": "Which is better?"}]
    found = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body | {"messages": said}, timeout=300)
    top = found.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    words = [one["token"] for one in top if re.fullmatch(r"\w+", one["token"])]
    return words[:2]


@pytest.mark.served
def test_a_served_judge_and_one_that_the_stage_runs_say_the_same(
    stand: Stand, port: int, model: str, tmp_path: Path
) -> None:
    engine = {"kind": "vllm", "dtype": "float32", "max_model_len": LENGTH}
    answers = give_answers(stand, tmp_path, model, "alpaca", engine=engine)
    labels = likely_labels(port, model)
    words = {"user": "Which is better?", "reads": "labels", "labels": labels, "weighted": True, "max_tokens": 1}
    over = stand.run("served", "alpaca_eval", **answers, **served(port), prompt=words | {"alternatives": 20})
    here = stand.run("here", "alpaca_eval", **answers, judge=model, engine=engine, prompt=words | {"alternatives": 20})
    (theirs,), (ours,) = read_scored(over.out), read_scored(here.out)
    assert ours.score.n == theirs.score.n == 8 and 0 < ours.score.value < 1
    assert ours.items == pytest.approx(theirs.items, abs=2e-3)
    assert ours.key["judge"] != theirs.key["judge"] == "mini at 127.0.0.1"
    assert over.summary["calls"] == here.summary["calls"] == 1, "all eight cases ask the very same"
    assert over.summary["engine"]["engine"] == "openai"
    assert over.summary["tokens_in"] > 8 and here.summary["engine"]["engine"] == "vllm"


@pytest.mark.served
def test_a_judge_that_knows_nothing_gives_no_score(stand: Stand, port: int, model: str, tmp_path: Path) -> None:
    """Of four benchmarks none is reported; every failure is counted by kind and listed."""
    alpaca, arena = (give_answers(stand, tmp_path, model, form) for form in ("alpaca", "arena"))
    wild, chat = (give_answers(stand, tmp_path, model, form) for form in ("wildbench", "mt_bench"))
    short = {"max_tokens": 8}
    by_turn = yaml.safe_load((packaged("conf") / "judge_prompts/mt_bench.yaml").read_text())
    runs: list[tuple[str, dict[str, Any], int, str]] = [
        ("alpaca_eval", {**alpaca, "prompt": prompt("alpaca_eval")}, 8, "no log probabilities"),
        ("arena_hard", {**arena, "prompt": prompt("arena_hard") | short}, 16, "cut|unreadable"),
        ("wildbench", {**wild, "prompt": prompt("wildbench_reward") | short}, 10, "cut|unreadable"),
        ("wildbench", {"outputs": "wildbench", "prompt": prompt("wildbench_score") | short}, 10, "cut|unreadable"),
        ("mt_bench", {"outputs": "mt_bench", "prompts_by_turn": {k: v | short for k, v in by_turn.items()}}, 12, "cut|unreadable"),
    ]  # fmt: skip
    for number, (kind, settings, most, why) in enumerate(runs):
        with pytest.raises(StageError) as refused:
            stand.run(str(number), kind, **settings, **served(port))
        found = re.search(r"gave no verdict on (\d+) of (\d+) cases \(([^)]*)\)", str(refused.value))
        assert found and int(found[1]) == int(found[2]) <= most and re.search(why, found[3]), str(refused.value)
        folder = stand.root / f"{kind}-{number}/data"
        assert len((folder / "failures.jsonl").read_text().splitlines()) == int(found[1])
        assert not (folder / "scores.json").exists()


@pytest.mark.served
def test_a_judge_held_to_the_form_gives_verdicts(stand: Stand, model: str, tmp_path: Path) -> None:
    """Noise held to the form is verdicts, and those are counted as they are written: none is unreadable unless it is cut."""
    pytest.importorskip("vllm", reason="vllm is not installed")
    wild = give_answers(stand, tmp_path, model, "wildbench")
    held = {"structured": True, "text_length": 20, "max_tokens": 300}
    judge = {
        "judge": model,
        "engine": {"kind": "vllm", "dtype": "float32", "max_model_len": LENGTH},
        "max_failures": 0.5,
    }
    made = stand.run("r", "wildbench", **wild, **judge, prompt=prompt("wildbench_reward") | held)
    lines = [json.loads(line) for line in (made.out / "judgments.jsonl").read_text().splitlines()]
    assert {line["failure"] for line in lines} <= {None, "cut: the judge did not end within its max_tokens"}
    said = [line for line in lines if line["failure"] is None]
    for line in said:
        choice = json.loads(line["text"], strict=False)["choice"]
        share = {"A": 1, "B": 0}[choice[0]] if "=" not in choice else 0.5
        assert (line["value"], line["decisive"]) == (share, choice.endswith("++"))
    assert len(said) >= 5
    scored = stand.run("s", "wildbench", outputs="wildbench", **judge, prompt=prompt("wildbench_score") | held)
    (one,) = [found for found in read_scored(scored.out) if found.score.metric == "score"]
    assert 5 <= one.score.n <= 10 and all(value in [n / 10 for n in range(1, 11)] for value in one.items.values())


def test_a_reward_model_judges_as_it_rewards(stand: Stand, tmp_path: Path) -> None:
    """The higher of the model's own rewards wins, in every benchmark that compares; each answer is scored once."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = make_model(tmp_path / "reward", reward=True)
    network, tokenizer = (kind.from_pretrained(folder) for kind in (AutoModelForSequenceClassification, AutoTokenizer))
    questions = question_files.alpaca(tmp_path)
    rewards: dict[str, list[float]] = {}
    for name, more in (("ours", 2), ("theirs", 0)):
        answers = question_files.outputs(tmp_path, questions, name, more)
        stand.run(name, "published_outputs", answers=answers, questions=questions)
        for row in stand.rows(name):
            chat = [("user", json.loads(row["question"])["turns"][0]), ("assistant", row["answers"][0])]
            said = [{"role": role, "content": text} for role, text in chat]
            text = tokenizer.apply_chat_template(said, tokenize=False)
            with torch.inference_mode():
                ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
                rewards.setdefault(name, []).append(float(network(**ids).logits[0, 0]))
    gaps = [ours - theirs for ours, theirs in zip(*rewards.values(), strict=True)]
    judge = {"judge": folder, "scorer": {"dtype": "float32"}, "outputs": "ours", "baseline": "theirs"}
    won = {str(i): float(gap > 0) for i, gap in enumerate(gaps)}
    assert sum(won.values()) > 0
    plain = stand.run("a", "alpaca_eval", **judge, reward={})
    assert read_scored(plain.out)[0].items == won and plain.summary["calls_now"] == 16
    weighted = stand.run("b", "alpaca_eval", **judge, reward={"weighted": True})
    shares = {str(i): 1 / (1 + math.exp(-gap)) for i, gap in enumerate(gaps)}
    assert read_scored(weighted.out)[0].items == pytest.approx(shares, abs=1e-4)
    assert (weighted.summary["calls_now"], weighted.summary["cached"]) == (0, 16)
    arena = stand.run("c", "arena_hard", **judge, reward={})
    assert read_scored(arena.out)[0].score.value == pytest.approx(sum(won.values()) / 8)
    wild = stand.run("d", "wildbench", **judge, reward={}, margin=None)
    assert read_scored(wild.out)[0].score.value == pytest.approx((sum(won.values()) - 4) / 8)
    ties = stand.run("e", "alpaca_eval", **judge, reward={"margin": 1e9})
    assert ties.summary["n_draws"] == 8


@pytest.mark.served
def test_quickstarts_models_before_their_reward_model(tmp_path: Path) -> None:
    """`quickstart_judges` at its smallest: everything is trained here, five models answer, every answer is judged."""
    pytest.importorskip("vllm", reason="vllm is not installed")
    unasked = ("eval_base", "eval_public", "eval_raw", "eval_selected", "eval_dpo", "eval_teacher", "truth_raw", "truth_selected", "report")  # fmt: skip
    command = [sys.executable, "-m", "magpie_align", "recipe=quickstart_judges", *TINY]
    command += [f"~stages.{name}" for name in unasked]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "report: runs/quickstart_judges/report.md"
    rows = json.loads((tmp_path / "runs/quickstart_judges/results.json").read_text())
    found = {(row["model"], row["metric"]): row for row in rows}
    ours = ("base", "base + Magpie selected", "base + Magpie selected + DPO", "teacher")
    assert found.keys() == {
        *((name, "win_rate") for name in ours),
        *(("DPO against SFT", m) for m in ("score", "win_rate")),
    }
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 and row["n"] == 40 for row in rows)
    (cache,) = tmp_path.glob("store/judgments.sqlite")
    with sqlite3.connect(cache) as base:
        (kept,) = base.execute("select count(*) from answers").fetchone()
    assert 40 < kept <= 5 * 40, "each answer is scored once, whomever it meets"
    sections = json.loads((tmp_path / "runs/quickstart_judges/leaderboard.json").read_text())
    assert sections and all(not line["source"].startswith("arXiv") for s in sections for line in s["lines"])
    assert all("judge is reward model" in " ".join(section["apart"]) for section in sections)


RECIPE = """
name: judged
stages:
  ours:   {{use: published_outputs, questions: {folder}/alpaca_eval.json, answers: {folder}/ours.json, temperature: 0, repetition_penalty: 1}}
  theirs: {{use: published_outputs, questions: {folder}/alpaca_eval.json, answers: {folder}/theirs.json}}
  judged:
    use: alpaca_eval
    outputs: ours
    baseline: theirs
    judge: served/judge
    prompt: {prompt}
    engine: {engine}
  report: {{use: report, title: Judged, models: {{ours: judged}}}}
"""


def test_a_recipe_that_fails_is_run_again_and_reports(tmp_path: Path) -> None:
    questions = question_files.alpaca(tmp_path)
    for name, more in (("ours", 1), ("theirs", 0)):
        question_files.outputs(tmp_path, questions, name, more)
    with judge_server() as server:
        (tmp_path / "judged.yaml").write_text(
            RECIPE.format(folder=tmp_path, prompt=json.dumps(prompt("alpaca_eval")), engine=json.dumps(server.engine))
        )
        command = [sys.executable, "-m", "magpie_align", "recipe=judged.yaml"]
        environment = os.environ | {"NO_PROXY": "127.0.0.1"}
        server.behave = lambda body: "well" if " 5 times" in body["messages"][-1]["content"] else "500"
        failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert failed.returncode == 1
        assert "stage 'judged' failed: the judge judge at 127.0.0.1 gave no verdict on 7 of 8 cases" in failed.stderr
        assert len(server.seen) == 8
        server.behave = lambda body: "well"
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert len(server.seen) == 15, "only what was missing is asked again"
        more = [*command, "output=two", "+stages.brief={use: report, title: Brief, models: {mine: judged}}"]
        both = subprocess.run(more, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert both.returncode == 0, both.stderr
    told = {name: json.loads((tmp_path / f"two/{name}/results.json").read_text()) for name in ("report", "brief")}
    assert {name: [row["model"] for row in rows] for name, rows in told.items()} == {
        "report": ["ours"],
        "brief": ["mine"],
    }
    assert (tmp_path / "two/costs.json").is_file() and both.stdout.splitlines()[-1] == "report: two/brief/report.md"
    (row,) = json.loads((tmp_path / "runs/results.json").read_text())
    assert (row["model"], row["task"], row["metric"], row["n"]) == ("ours", "alpaca_eval", "win_rate", 8)
    assert row["value"] == pytest.approx(1 / (1 + math.exp(-1)))
