"""The stage `evaluate` as a worker runs it: a model and a benchmark in, the three files and lm-eval's own out."""

from pathlib import Path

from magpie_align.evaluation.scored import read_scored
from magpie_align.mini.benchmark import write_benchmark
from magpie_align.mini.model import ModelSize, new_model, save_model
from magpie_align.mini.tokenizer import build_tokenizer
from magpie_align.recipe import stage_class
from tests.stages.stand import Stand


def test_a_model_is_scored_and_left_with_all_that_compares_it(stand: Stand, tmp_path: Path) -> None:
    tokenizer = build_tokenizer(tmp_path / "model", samples=300)
    save_model(
        new_model(tokenizer, ModelSize(hidden=32, layers=1, heads=2, intermediate=64)), tokenizer, tmp_path / "model"
    )
    write_benchmark(tmp_path / "benchmark", 0, generated=6, chosen=6)
    stand.inputs |= {"model": tmp_path / "model", "benchmark": tmp_path / "benchmark"}
    ctx = stand.run(
        "eval", "evaluate", model="model", benchmark="benchmark", tasks={"mini_mc": 0}, limit=4,
        engine={"kind": "transformers", "threads": 1},
    )  # fmt: skip
    files = sorted(str(file.relative_to(ctx.out)) for file in ctx.out.rglob("*") if file.is_file())
    assert files == ["items.jsonl", "keys.json", "lm_eval.json", "samples/mini_mc.jsonl", "scores.json"]
    scored = read_scored(ctx.out)
    assert ctx.summary == {f"{one.score.task} {one.score.metric}": one.score.value for one in scored}
    assert [(one.score.metric, one.score.n, one.key["limit"], len(one.items)) for one in scored] == [
        ("acc", 4, 4, 4),
        ("acc_norm", 4, 4, 4),
    ]


def test_settings_that_cannot_go_together() -> None:
    settings = {"model": "model", "tasks": {"a": 0}, "benchmark": "b", "data": "./data", "engine": {"kind": "scripted"}}
    told = stage_class("evaluate").model_validate(settings).problems()
    assert told == [
        "lm-eval runs through vllm or transformers, and the engine is scripted; set engine.kind of this stage"
    ]
    told = stage_class("evaluate").model_validate(settings | {"engine": {"kind": "transformers"}}).problems()
    assert told == ["data: the tasks of a benchmark bring their own data; leave data out"]
