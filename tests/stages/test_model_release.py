"""A trained model as it is published: it loads, its card says what it is as the hub reads it, and its recipe makes it again."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

from magpie_align.errors import ConfigError, StageError
from magpie_align.flow.progress import Progress
from magpie_align.flow.stage import Context, Stage
from magpie_align.recipe import check, load
from magpie_align.records import Score, write_scores
from magpie_align.report.lineage import Made
from magpie_align.report.model_card import ModelCard as Card
from magpie_align.stages.dataset import Dataset
from magpie_align.stages.model_release import ModelRelease
from magpie_align.stages.sft import SFT
from tests.training.conftest import make_model


def artifact(store: Path, kind: str, stage: Stage | None, inputs: dict[str, str], **summary: Any) -> Path:
    folder = store / f"{kind}-{len(list(store.glob('*'))):016x}"
    (folder / "data").mkdir(parents=True)
    settings = stage.model_dump(mode="json") if stage else {"model": next(iter(inputs))}
    (folder / "manifest.json").write_text(
        json.dumps({"kind": kind, "settings": settings, "inputs": inputs, "summary": summary})
    )
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A public data set, a model trained on it, and its evaluation; and that of another."""
    root = tmp_path_factory.mktemp("released")
    base = root / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: llama3\n---\n")
    store = root / "store"
    chats = artifact(store, "dataset", Dataset(source="org/chats"), {"org/chats": "org/chats"}, rows=900)
    training = SFT(model=str(base), data="chats", template=str(base), learning_rate=2e-5)
    sft = artifact(store, "sft", training, {str(base): "0" * 16, "chats": chats.name}, rows=900, steps=3)
    make_model(sft / "data")
    found = {"chats": chats, "sft": sft}
    for name, inputs in (("eval_sft", {"sft": sft.name}), ("eval_other", {"other": "sft-ffff"})):
        found[name] = artifact(store, "evaluate", None, inputs)
        write_scores([Score("", "sums", "acc", 0.625, 0.5, 0.75, 64)], found[name] / "data" / "scores.json")
    return found


def release(made: dict[str, Path], folder: Path, **settings: Any) -> Context:
    stage = ModelRelease(model="sft", title="A small model", licence=None, **settings)
    ctx = Context(
        folder / "data", folder / "work", {k: v / "data" for k, v in made.items()}, Progress(folder / "progress")
    )
    ctx.out.mkdir(parents=True, exist_ok=True)
    stage.run(ctx)
    return ctx


def test_the_folder_loads_and_the_model_itself_is_left_alone(made: dict[str, Path], tmp_path: Path) -> None:
    for _ in range(2):  # a second time, as after a kill
        out = release(made, tmp_path).out
    assert AutoModelForCausalLM.from_pretrained(out).num_parameters() > 0
    assert AutoTokenizer.from_pretrained(out).chat_template
    assert not (made["sft"] / "data" / "README.md").exists()


def test_the_card_is_what_the_hub_reads(made: dict[str, Path], tmp_path: Path) -> None:
    ctx = release(made, tmp_path, scores=["eval_sft"], languages=["en"], description="Made by a test.")
    card = ModelCard.load(ctx.out / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag, card.data.language) == (
        "transformers",
        "text-generation",
        ["en"],
    )
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("sums", "acc", 0.625)
    assert card.data.datasets == ["org/chats"] and card.data.base_model is None
    assert "| A small model | 62.5 [50.0, 75.0] |" in card.text
    assert "| `learning_rate` | 2e-05 |" in card.text and "| sft | sft |" in card.text
    # The base says its terms, the data set does not: so nothing is claimed.
    assert card.data.license == "unknown" and "the terms of `org/chats` could not be read" in card.text
    assert ctx.summary == {"licence": "unknown", "scores": 1}


def test_the_base_of_the_first_training_is_named() -> None:
    kinds = (("sft", "meta-llama/Meta-Llama-3-8B@main"), ("dpo", "sft"))
    made = [
        Made(kind, Path(kind), {"kind": kind, "settings": {"model": model, "data": "d"}, "inputs": {}})
        for kind, model in kinds
    ]
    card = ModelCard(Card("T", "", ("llama3", "As its base."), [], made, [], [], "org/name").render())
    assert (card.data.base_model, card.data.license) == ("meta-llama/Meta-Llama-3-8B", "llama3")
    assert {"sft", "dpo"} <= set(card.data.tags) and 'pipeline("text-generation", "org/name")' in card.text


def test_its_recipe_has_the_training(made: dict[str, Path], tmp_path: Path) -> None:
    recipe = yaml.safe_load((release(made, tmp_path).out / "recipe.yaml").read_text())
    assert recipe["stages"]["sft"]["use"] == "sft" and recipe["stages"]["sft"]["learning_rate"] == 2e-5
    assert recipe["stages"]["chats"] == recipe["stages"]["chats"] | {"use": "dataset", "source": "org/chats"}


def test_scores_of_another_model_are_refused(made: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(StageError, match="scores: 'eval_other' is no evaluation of 'sft'; name one that is"):
        release(made, tmp_path, scores=["eval_other"])


def test_a_model_from_outside_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = {"name": "x", "stages": {"out": {"use": "model_release", "model": "org/model", "title": "t"}}}
    with pytest.raises(ConfigError, match="stages.out: model: 'org/model' is not of this recipe, so nothing is known"):
        check(raw)


def test_the_recipe_names_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [node.name for node in load("sft_300k_release", []).nodes if node.kind == "model_release"] == ["release"]
