"""lm-eval through our stage gives lm-eval's own numbers, whatever shots, files, groups, templates and copies are asked for."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from magpie_align.engines import EngineSettings
from magpie_align.errors import StageError
from magpie_align.evaluation.harness import HarnessSettings, evaluate
from magpie_align.evaluation.scored import Scored, read_scored, write_scored
from magpie_align.mini.benchmark import write_benchmark
from magpie_align.mini.model import ModelSize, new_model, save_model
from magpie_align.mini.tokenizer import HEADER_START, build_tokenizer
from tests.evaluation.lm_eval_files import GROUP, SUBJECTS, write_data
from tests.realdata import needs_realdata

SIZE = ModelSize(hidden=64, layers=1, heads=2, intermediate=64, positions=4096)
SLOW_CPU = EngineSettings(kind="transformers", data_parallel_size=1, threads=1)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model: its answers mean nothing, and are the same for everyone who asks it."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(folder, samples=500)
    save_model(new_model(tokenizer, SIZE), tokenizer, folder)
    return folder


def run(
    model: Path, out: Path, own: Path | None = None, data: Path | None = None, **settings: Any
) -> dict[str, Scored]:
    """Score, write and read back; by task and metric."""
    engine = settings.pop("engine", SLOW_CPU)
    scored = evaluate(model, own, data, HarnessSettings.model_validate(settings), engine, out, 0)
    write_scored(scored, out)
    assert read_scored(out) == scored
    return {f"{one.score.task} {one.score.metric}": one for one in scored}


def samples(out: Path, task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"samples/{task}.jsonl").read_text().splitlines()]


LM_EVAL = {
    "transformers": ("hf", "dtype=auto", "import lm_eval"),
    # Of vLLM's own package lm-eval asks the version; the one for CPUs goes by another name.
    "vllm": (
        "vllm",
        f"dtype=auto,max_model_len={SIZE.positions},enforce_eager=True,gpu_memory_utilization=0.3",
        "from magpie_align.evaluation.lm import _prepare_vllm; _prepare_vllm()",
    ),
}
"""Engine -> lm-eval's name for it, what it is told of the model, and what must be done before it starts."""


def command_line(kind: str, model: Path, data: Path, shots: dict[str, int], tmp: Path) -> tuple[dict[str, Any], Path]:
    """What `lm_eval` itself says, told the same in its own way: YAML files written by hand."""
    import lm_eval

    built_in, over = Path(lm_eval.__file__).parent / "tasks", tmp / "over"
    over.mkdir()

    def put(name: str, file: str, files: dict[str, Path]) -> None:
        fields = {"task": name, "include": str(built_in / file), "dataset_path": "json", "dataset_name": None}
        kwargs = {"dataset_kwargs": {"data_files": {split: str(path) for split, path in files.items()}}}
        (over / f"{name}.yaml").write_text(yaml.safe_dump(fields | kwargs | {"num_fewshot": shots[name]}))

    put("gsm8k", "gsm8k/gsm8k.yaml", {s: data / f"openai/gsm8k/main/{s}.jsonl" for s in ("train", "test")})
    put("truthfulqa_mc2", "truthfulqa/truthfulqa_mc2.yaml", {"validation": data / "truthfulqa_mc2/validation.jsonl"})
    for name in SUBJECTS:
        files = {s: data / f"cais/mmlu/{name}/{s}.jsonl" for s in ("dev", "test")}
        put(f"mmlu_{name}", f"mmlu/default/mmlu_{name}.yaml", files)
    (over / "two.yaml").write_text(GROUP)
    name, told, before = LM_EVAL[kind]
    command = [sys.executable, "-c", f"{before}; from lm_eval.__main__ import cli_evaluate; cli_evaluate()"]
    command += ["run", "--model", name, "--model_args", f"pretrained={model},{told}"]
    command += ["--tasks", "gsm8k,mmlu_two,truthfulqa_mc2", "--include_path", str(over), "--device", "cpu"]
    command += ["--batch_size", "64", "--apply_chat_template", "--log_samples", "--output_path", str(tmp / "cli")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp / "cli").rglob("results_*.json")
    return json.loads(file.read_text())["results"], file.parent


@needs_realdata
@pytest.mark.parametrize("kind", ["transformers", pytest.param("vllm", marks=pytest.mark.harness)])
def test_the_numbers_of_the_command_line_on_the_same_files(kind: str, model: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", items=6)
    shots = {"gsm8k": 2, "mmlu_anatomy": 5, "mmlu_virology": 5, "truthfulqa_mc2": 0}
    theirs, logs = command_line(kind, model, data, shots, tmp_path)
    engine = SLOW_CPU.model_copy(update={"kind": kind, "max_model_len": SIZE.positions})
    ours = run(
        model, tmp_path / "ours", data=data, tasks={"gsm8k": 2, "mmlu_two": 5, "truthfulqa_mc2": 0}, engine=engine,
        means={"two": ["mmlu_two acc", "truthfulqa_mc2 acc"]},
    )  # fmt: skip
    names = {"gsm8k": ["exact_match strict-match", "exact_match flexible-extract"]}
    for task, figures in theirs.items():
        told = {key: value for key, value in figures.items() if "," in key and "_stderr" not in key}
        for (key, value), metric in zip(told.items(), names.get(task, ["acc"]), strict=True):
            one = ours[f"{task} {metric}"]
            assert one.score.value == value, (task, key)
            assert one.score.low <= value <= one.score.high
            assert one.key["shots"] == (shots | {"mmlu_two": 5})[task]
    for file in logs.glob("samples_*"):
        task = file.name.removeprefix("samples_").rpartition("_")[0]
        said = [json.loads(line) for line in file.read_text().splitlines()]
        for a, b in zip(said, samples(tmp_path / "ours", task), strict=True):
            assert (a["prompt_hash"], a["doc_id"]) == (b["prompt_hash"], b["doc_id"])
            if task == "gsm8k":  # ours ends at the first special token
                assert a["resps"][0][0].startswith(b["resps"][0][0])
            else:
                assert [r[0][0] for r in b["resps"]] == pytest.approx([float(r[0][0]) for r in a["resps"]], abs=1e-4)

    group, parts = ours["mmlu_two acc"], [ours[f"mmlu_{name} acc"] for name in SUBJECTS]
    assert [part.score.n for part in parts] == [6, 5]
    assert group.score.value == pytest.approx(sum(p.score.value * p.score.n for p in parts) / 11)
    assert set(group.items) == {item for part in parts for item in part.items}
    assert (group.part_of, {part.part_of for part in parts}) == (None, {"mmlu_two"})
    mean = (group.score.value + ours["truthfulqa_mc2 acc"].score.value) / 2
    assert ours["two mean"].score.value == pytest.approx(mean)
    answers = [s["resps"][0][0] for s in samples(tmp_path / "ours", "gsm8k") if s["filter"] == "strict-match"]
    counts = ours["gsm8k exact_match strict-match"].counts
    assert counts == {"truncated": 6, "empty": sum(not answer.strip() for answer in answers), "shortened": 0}


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    write_benchmark(folder, 0, generated=7, chosen=5)
    return folder


@pytest.mark.harness
def test_copies_give_what_one_gives(model: Path, benchmark: Path, tmp_path: Path) -> None:
    shots = {"mini_gen": 0, "mini_mc": 3}
    one = run(model, tmp_path / "one", own=benchmark, tasks=shots)
    two = SLOW_CPU.model_copy(update={"data_parallel_size": 2})
    both = run(model, tmp_path / "two", own=benchmark, tasks=shots, engine=two)
    assert both.keys() == one.keys()
    for name, found in both.items():
        assert (found.key, found.counts) == (one[name].key, one[name].counts)
        assert found.score.value == one[name].score.value
    assert samples(tmp_path / "one", "mini_gen") == samples(tmp_path / "two", "mini_gen")
    for a, b in zip(samples(tmp_path / "one", "mini_mc"), samples(tmp_path / "two", "mini_mc"), strict=True):
        assert a["arguments"] == b["arguments"]
        assert [r[0][0] for r in a["resps"]] == pytest.approx([r[0][0] for r in b["resps"]], abs=1e-4)


def test_templates_and_system_texts_part_keys_and_models_do_not(model: Path, benchmark: Path, tmp_path: Path) -> None:
    tasks = {"mini_mc": 2}
    other = tmp_path / "other"
    tokenizer = build_tokenizer(other, samples=500)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|begin_of_text|>", "").replace("<|eot_id|>", "\n")
    save_model(new_model(tokenizer, SIZE, seed=1), tokenizer, other)
    plain = run(model, tmp_path / "a", own=benchmark, tasks=tasks)["mini_mc acc"].key
    assert run(other, tmp_path / "b", own=benchmark, tasks=tasks)["mini_mc acc"].key == plain
    one_turn = run(model, tmp_path / "c", own=benchmark, tasks=tasks, multiturn=False)["mini_mc acc"].key
    system = run(model, tmp_path / "d", own=benchmark, tasks=tasks, system="Answer.")["mini_mc acc"].key
    bare = run(model, tmp_path / "e", own=benchmark, tasks=tasks, chat_template=False)["mini_mc acc"].key
    limited = run(model, tmp_path / "f", own=benchmark, tasks=tasks, limit=3)["mini_mc acc"].key
    keys = [plain, one_turn, system, bare, limited]
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == 5
    assert len({key["prompts"] for key in keys}) == 5
    assert {key["questions"] for key in keys[:4]} == {plain["questions"]} != {limited["questions"]}
    assert "Answer." in samples(tmp_path / "d", "mini_mc")[0]["arguments"][0][0]
    assert "<|" not in samples(tmp_path / "e", "mini_mc")[0]["arguments"][0][0]


@pytest.mark.parametrize("kind", ["transformers", pytest.param("vllm", marks=pytest.mark.harness)])
def test_no_special_token_is_left_in_an_answer(kind: str, model: Path, benchmark: Path, tmp_path: Path) -> None:
    """A model that opens the next turn at once, with a token that ends nothing by itself."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, net = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    opener = tokenizer.convert_tokens_to_ids(HEADER_START)
    with torch.no_grad():
        for layer in net.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        net.model.embed_tokens.weight[:, 0] = 1
        net.model.embed_tokens.weight[opener, 0] = 100
    save_model(net, tokenizer, tmp_path / "opener")
    engine = SLOW_CPU.model_copy(update={"kind": kind, "max_model_len": 256})
    scores = run(tmp_path / "opener", tmp_path / "out", own=benchmark, tasks={"mini_gen": 0}, engine=engine)
    found = scores["mini_gen exact_match"]
    assert found.counts == {"truncated": 0, "empty": 7, "shortened": 0}
    assert {s["resps"][0][0] for s in samples(tmp_path / "out", "mini_gen")} == {""}


def test_prompts_that_do_not_fit_are_counted(model: Path, benchmark: Path, tmp_path: Path) -> None:
    short = SLOW_CPU.model_copy(update={"max_model_len": 106})
    found = run(model, tmp_path, own=benchmark, tasks={"mini_gen": 0, "mini_mc": 4}, engine=short)
    assert found["mini_mc acc"].counts["shortened"] == 5
    assert found["mini_gen exact_match"].counts["shortened"] == 7


def test_an_interval_for_whatever_a_task_makes_of_its_questions(model: Path, tmp_path: Path) -> None:
    """Perplexity is no mean of its items: it has an interval, and no items to compare."""
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": f"Words number {n}."}) + "\n" for n in range(6)))
    fields = {
        "task": "text", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "text.jsonl"}},
        "test_split": "test", "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}],
    }  # fmt: skip
    (tmp_path / "text.yaml").write_text(yaml.safe_dump(fields))
    out = tmp_path / "out"
    found = run(model, out, own=tmp_path, tasks={"text": None}, chat_template=False)["text word_perplexity"]
    assert not found.items and found.score.n == 6
    assert 1 < found.score.low < found.score.value < found.score.high < math.inf


def test_requests_that_cannot_be_met(model: Path, benchmark: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"has no task 'mini_gem'; did you mean 'mini_gen'\?"):
        run(model, tmp_path, own=benchmark, tasks={"mini_gem": 0})
    with pytest.raises(
        StageError, match="means.all: there is no score 'mini_mc exact_match'; there are: mini_mc acc, "
    ):
        run(model, tmp_path, own=benchmark, tasks={"mini_mc": 0}, means={"all": ["mini_mc exact_match"]})
    from transformers import AutoTokenizer

    bare = tmp_path / "bare"
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = None
    save_model(new_model(tokenizer, SIZE), tokenizer, bare)
    with pytest.raises(StageError, match=r"the prompts cannot be put into a chat \(.*\); set chat_template: false"):
        run(bare, tmp_path, own=benchmark, tasks={"mini_mc": 0})
