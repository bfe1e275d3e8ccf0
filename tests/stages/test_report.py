"""Reports and the leaderboard: one column for what was measured alike, words for differences, the paper's rows where they fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from magpie_align.cli import main
from magpie_align.evaluation.intervals import wilson
from magpie_align.evaluation.scored import Scored, write_scored
from magpie_align.recipe import stage_class
from magpie_align.records import Score, write_scores
from magpie_align.stages._leaderboard import training_settings
from tests.stages.stand import Stand

GSM8K = {"harness": "lm-eval", "shots": 5, "items": 1319, "chat_template": True, "task_version": "3.0"}
SFT = {
    "learning_rate": 2e-5, "schedule": "cosine", "warmup": 100, "epochs": 2, "batch_size": 32, "max_length": 8192,
    "packing": True, "optimizer": "paged_adamw_8bit", "weight_decay": 0.0, "trl": {}, "model": "meta-llama/Meta-Llama-3-8B",
}  # fmt: skip


def scored(
    right: int, n: int = 1319, task: str = "gsm8k", metric: str = "exact_match strict-match", **key: Any
) -> Scored:
    items = {f"{task}/{i}": float(i < right) for i in range(n)}
    return Scored(Score("", task, metric, right / n, *wilson(right, n), n), {**GSM8K, **key}, items)


def artifact(store: Path, name: str, settings: dict[str, Any], inputs: dict[str, str], **others: Any) -> Path:
    folder = store / name
    (folder / "data").mkdir(parents=True)
    manifest = {
        "kind": name.rpartition("-")[0],
        "settings": settings,
        "inputs": inputs,
        "finished": "2026",
        "files": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | others))
    return folder / "data"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A base, its SFT as in the paper (but for one setting), and a run with another judge of shots."""
    store = tmp_path / "store"
    artifact(store, "sft-1", SFT | {"epochs": 3}, {"meta-llama/Meta-Llama-3-8B": "x"}, summary={"rows": 300_000})
    base = artifact(store, "evaluate-b", {"model": "meta-llama/Meta-Llama-3-8B"}, {})
    write_scored([scored(500), scored(4, 8, "mini", "acc")], base)
    tuned = artifact(store, "evaluate-t", {"model": "sft"}, {"sft": "sft-1"})
    answers = Scored(scored(640).score, scored(640).key, scored(640).items, None, {"truncated": 7, "empty": 0})
    write_scored([answers, scored(4, 8, "mini", "acc")], tuned)
    write_scored([scored(300, shots=0)], artifact(store, "evaluate-z", {"model": "sft"}, {"sft": "sft-1"}))
    return store


@pytest.fixture
def report(store: Path, stand: Stand) -> Callable[..., Path]:
    stand.inputs |= {name: store / f"evaluate-{name[0]}/data" for name in ("base", "tuned", "zero")}

    def run(models: dict[str, str], **settings: Any) -> Path:
        return stand.run("report", "report", title="A title", models=models, **settings).out

    return run


def test_differences_are_told_in_words(report: Callable[..., Path]) -> None:
    out = report({"Base": "base", "+ SFT": "tuned", "+ SFT, no shots": "zero"})
    text = (out / "report.md").read_text()
    assert "In points, against Base on the same questions. Intervals: 95%, paired bootstrap." in text
    assert "p: exact McNemar, corrected for 2 comparisons (Holm)." in text
    (line,) = [line for line in text.splitlines() if line.startswith("| + SFT") and "better" in line]
    assert "| +10.6 [+" in line and "] better, p < 0.001 |" in line and "+0.0 [+0.0, +0.0] no difference shown" in line
    assert "| + SFT | gsm8k | answers cut at the token limit | 7 of 1319 |" in text
    found = json.loads((out / "comparisons.json").read_text())
    assert [(c["run"], c["task"], c["n"], c["words"]) for c in found] == [
        ("+ SFT", "gsm8k", 1319, "better, p < 0.001, corrected for 2 comparisons"),
        ("+ SFT", "mini", 8, "no difference shown"),
    ]


def test_what_was_measured_otherwise_has_a_table_of_its_own(report: Callable[..., Path]) -> None:
    text = (report({"Base": "base", "+ SFT, no shots": "zero"}) / "report.md").read_text()
    assert "## Models\n" in text and "## Models, where shots is 0\n" in text
    first, other = text.split("## Models, where shots is 0")
    assert "no shots" not in first and "| Base" not in other.split("## Beside")[0]
    assert "## Differences" not in text


def test_a_row_of_the_paper_is_reproduced_or_not(report: Callable[..., Path]) -> None:
    out = report({"Base": "base", "+ SFT": "tuned"}, answers={"+ SFT": "Magpie-Pro filtered"})
    text = (out / "report.md").read_text()
    assert "### gsm8k exact_match strict-match" in text and "### mini" not in text
    (ours,) = [line for line in text.splitlines() if line.startswith("| + SFT ") and "here" in line]
    assert "48.52 [45.8, 51.2]" in ours and "reproduced" in ours
    assert "| Magpie-Pro filtered " in text and "arXiv 2406.08464 v2, table 3" in text
    (words,) = [
        line for line in text.splitlines() if line.startswith("- + SFT against Magpie-Pro filtered: reproduced")
    ]
    assert "Differs: epochs is 3, published with 2;" in words and "learning_rate" not in words
    assert "chat_template is True, and the source does not say its own" in words
    (section,) = json.loads((out / "leaderboard.json").read_text())
    assert section["title"] == "gsm8k exact_match strict-match" and len(section["lines"]) == 2 + 11


def test_how_the_model_was_trained_is_found_behind_answers_and_other_scores(store: Path) -> None:
    artifact(store, "dpo-1", {"model": "sft", "beta": 0.01, "trl": {}}, {"sft": "sft-1"}, summary={"pairs": 9})
    artifact(store, "outputs-1", {"model": "dpo"}, {"dpo": "dpo-1"})
    artifact(store, "outputs-2", {"answers": "./gpt4.json"}, {})
    artifact(store, "alpaca_eval-1", {"outputs": "said", "judge": "j"}, {"said": "outputs-1", "j": "sft-1"})
    artifact(store, "alpaca_eval-2", {"outputs": "said"}, {"said": "outputs-2"})
    artifact(store, "untouched-1", {"scores": "eval"}, {"eval": "evaluate-t"})
    assert training_settings(store / "alpaca_eval-1") == {"base": "Llama-3-8B", "beta": 0.01, "rows": 9}
    assert training_settings(store / "alpaca_eval-2") == {}
    assert training_settings(store / "untouched-1") == training_settings(store / "evaluate-t")
    assert training_settings(store / "evaluate-t")["epochs"] == 3
    assert training_settings(store / "evaluate-b") == {"base": "Llama-3-8B"}


def test_scores_without_keys_are_shown_and_compared_with_nothing(stand: Stand, tmp_path: Path) -> None:
    for name in ("a", "b"):
        stand.inputs[name] = tmp_path / name
        (tmp_path / name).mkdir()
        write_scores([Score("", "instructions", "valid", 0.5, 0.4, 0.6, 10)], tmp_path / name / "scores.json")
    out = stand.run("report", "report", title="A title", models={"A": "a"}, datasets={"B": "b"}).out
    assert sorted(file.name for file in out.iterdir()) == ["report.md", "results.json", "tables.json"]
    assert (out / "report.md").read_text().count("##") == 2


def test_names_that_a_report_does_not_know() -> None:
    settings = {
        "title": "x",
        "models": {"Base": "b"},
        "compare_with": "Bass",
        "answers": {"Ba": "WildChat", "Base": "Wild"},
    }
    told = stage_class("report").model_validate(settings).problems()
    assert told[0] == "compare_with: there is no model 'Bass'; did you mean 'Base'?; models has: Base"
    assert told[1] == "answers: there is no model 'Ba'; did you mean 'Base'?; models has: Base"
    assert told[2].startswith("answers.Base: nothing is published of 'Wild'")


def test_the_leaderboard_of_a_store(store: Path, workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = {"title": "Run", "models": {"+ SFT": "eval"}, "answers": {"+ SFT": "Magpie-Pro filtered"}}
    artifact(store, "report-1", report, {"eval": "evaluate-t"})
    assert main(["report", f"store={store}"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "leaderboard: runs/leaderboard/leaderboard.md"
    assert (workdir / "runs/leaderboard/leaderboard.md").read_text() in said
    five, mini, zero = json.loads((workdir / "runs/leaderboard/leaderboard.json").read_text())
    assert [line["model"] for line in five["lines"] if line["source"].startswith("here")] == [
        "+ SFT", "meta-llama/Meta-Llama-3-8B",
    ]  # fmt: skip
    assert len(five["lines"]) == 13 and five["apart"] == []
    assert (mini["title"], len(mini["lines"]), mini["apart"], mini["answers"]) == ("mini acc", 2, [], [])
    assert [line["model"] for line in zero["lines"]] == ["sft-1"]
    assert zero["apart"] == ["shots is 0, published with 5"]
    assert "Nothing published stands here: shots is 0, published with 5." in said


def test_the_leaderboard_has_nothing_to_show(refused: Callable[..., list[str]], tmp_path: Path) -> None:
    assert refused("report") == ["store: there is no folder 'store'; give the one of your runs with store=FOLDER"]
    (said,) = refused("report", "stor=x")
    assert said == "report without a recipe takes store=FOLDER and output=FOLDER, not 'stor'; did you mean 'store'?"


def test_an_empty_store_and_a_recipe_that_has_not_run(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workdir / "empty").mkdir()
    assert main(["report", "store=empty"]) == 1
    assert "there is no evaluation in empty; run a recipe that has some" in capsys.readouterr().err
    assert main(["report", "recipe=quickstart"]) == 1
    assert "this recipe has evaluated nothing that a report of it shows; run it first" in capsys.readouterr().err
