"""Held-out samples: their loss against plain torch, and that a training ends with the model of the lowest where asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from magpie_align.errors import StageError
from magpie_align.training import cpo, data, dpo, fit, kto, orpo, reward_model, sft
from magpie_align.training.chat import Chat
from magpie_align.training.distributed import Distributed
from magpie_align.training.settings import (
    CPOSettings,
    DPOSettings,
    KTOSettings,
    ORPOSettings,
    RewardModelSettings,
    SFTSettings,
    TrainingSettings,
)
from tests.training import ranks
from tests.training.conftest import Write, chats, pairs
from tests.training.test_trainers import log_prob, network, quiet

HELD = 5
COMMON = {"batch_size": 4, "max_length": 192, "precision": "float32", "checkpoints": 0, "learning_rate": 1e-3}


def held_out(prepared: Any) -> Any:
    kept, held = data.hold_out(prepared.dataset, HELD)
    assert sorted([*kept["row"], *held["row"]]) == prepared.dataset["row"][:] and len(held) == HELD
    return held


def measured(out: Path) -> dict[int, float]:
    """Step -> loss of the held-out samples."""
    return {line["step"]: line["eval_loss"] for line in ranks.curve(out) if "eval_loss" in line}


def sft_loss(model: Path, samples: Any) -> float:
    """The mean over the trained tokens of all samples, one at a time, in plain torch."""
    import torch

    net, total, count = network(model).eval(), 0.0, 0
    for sample in samples:
        labels = torch.tensor(sample["labels"][1:])
        with torch.no_grad():
            logits = net(input_ids=torch.tensor([sample["input_ids"]])).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits, labels, reduction="sum", ignore_index=-100).item()
        count += int((labels != -100).sum())
    return total / count


@pytest.mark.parametrize("given", [{"micro_batch_size": 2}, {"micro_batch_size": 4}, {"packing": True}], ids=str)
def test_the_loss_is_that_of_plain_torch(given: dict[str, Any], model: Path, write: Write, tmp_path: Path) -> None:
    rows, out = write(*chats(24)), tmp_path / "out"
    settings = SFTSettings(**COMMON, **given, holdout=HELD, evaluations=2)
    figures = sft.train(model, rows, out, tmp_path / "work", settings, template=None, seed=0, progress=quiet)
    steps = figures["steps"]
    assert list(measured(out)) == [-(-steps // 2), steps] and all("loss" in line for line in ranks.curve(out))
    chat = Chat(fit.load_tokenizer(model))
    samples = held_out(data.prepare_sft(rows, chat, settings.max_length, tmp_path / "again"))
    assert measured(out)[steps] == pytest.approx(sft_loss(out, samples), rel=1e-5)
    assert figures["held out"] == {"samples": HELD, "step": steps, "loss": pytest.approx(measured(out)[steps])}
    assert figures["data"]["rows"] == 24


def test_that_of_pairs_too(model: Path, write: Write, tmp_path: Path) -> None:
    import torch

    rows, out = write(*pairs(16)), tmp_path / "out"
    settings = DPOSettings(**COMMON, micro_batch_size=2, beta=0.5, holdout=HELD)
    dpo.train(model, rows, out, tmp_path / "work", settings, seed=0, progress=quiet)
    chat = Chat(fit.load_tokenizer(model))
    held = held_out(data.prepare_dpo(rows, chat, settings.max_length, tmp_path / "again"))
    policy, reference = network(out).eval(), network(model).eval()
    losses = []
    with torch.no_grad():
        for pair in held:
            moved = [
                log_prob(policy, pair["prompt_ids"], pair[f"{name}_ids"])
                - log_prob(reference, pair["prompt_ids"], pair[f"{name}_ids"])
                for name in ("chosen", "rejected")
            ]
            losses.append(-torch.nn.functional.logsigmoid(0.5 * (moved[0] - moved[1])).item())
    last = ranks.curve(out)[-1]
    assert last["eval_loss"] == pytest.approx(sum(losses) / HELD, rel=1e-5)
    assert last["eval_rewards/accuracies"] == pytest.approx(sum(loss < 0.6931 for loss in losses) / HELD, abs=1e-6)


@pytest.mark.parametrize(
    ("train", "kind", "given"),
    [
        (kto.train, KTOSettings, {}),
        (orpo.train, ORPOSettings, {}),
        (cpo.train, CPOSettings, {}),
        (reward_model.train, RewardModelSettings, {}),
    ],
    ids=["kto", "orpo", "cpo", "reward_model"],
)
def test_micro_batches_do_not_decide_it(
    train: Any, kind: type[TrainingSettings], given: dict[str, Any], model: Path, write: Write, tmp_path: Path
) -> None:
    found = []
    for micro in (2, 4):
        out = tmp_path / f"out-{micro}"
        settings = kind(**COMMON, **given, micro_batch_size=micro, holdout=HELD, evaluations=2)
        figures = train(model, write(*pairs(13)), out, tmp_path / f"work-{micro}", settings, seed=0, progress=quiet)
        lines = [line for line in ranks.curve(out) if "eval_loss" in line]
        names = {name.removeprefix("eval_") for name in lines[-1] if name.startswith("eval_")} - {"loss", "num_tokens"}
        assert len(lines) == 2 and names < set(lines[-1]) and figures["held out"]["samples"] == HELD
        found.append([line["eval_loss"] for line in lines])
        if "eval_accuracy" in lines[-1]:
            assert figures["held-out accuracy"] == lines[-1]["eval_accuracy"]
            assert figures["held-out accuracy"] * HELD == pytest.approx(round(figures["held-out accuracy"] * HELD))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_the_best_model_is_kept_and_resuming_knows_it(model: Path, write: Write, tmp_path: Path) -> None:
    """Few samples that the model soon knows by heart; interrupted behind the best step, and resumed."""
    import torch
    from safetensors.torch import load_file

    rows = write(*chats(17))
    settings = SFTSettings(
        **COMMON | {"learning_rate": 0.02}, schedule="constant", epochs=10, micro_batch_size=4, holdout=HELD, evaluations=10,
        keep="best", distributed=Distributed(processes=1),
    )  # fmt: skip
    out = tmp_path / "out"
    _, figures = ranks.train("sft", model, rows, out, settings)
    losses = measured(out)
    best, last = figures["held out"]["step"], max(losses)
    assert list(losses) == list(range(3, 31, 3)) and losses[best] == min(losses.values()) and best < 15
    assert losses[last] > 1.05 * losses[best]
    chat = Chat(fit.load_tokenizer(model))
    held = held_out(data.prepare_sft(rows, chat, settings.max_length, tmp_path / "again"))
    assert sft_loss(out, held) == pytest.approx(losses[best], rel=1e-5)
    assert [f.name for f in tmp_path.glob("out-work/best-*")] == [f"best-{best}"]

    cut = tmp_path / "cut"
    resumed = ranks.train_interrupted("sft", model, rows, cut, settings)
    assert measured(cut) == losses and len(resumed) == 30
    before, after = (load_file(folder / "model.safetensors") for folder in (out, cut))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((tmp_path / "cut-work" / "best.json").read_text())["step"] == best


def test_what_cannot_be(model: Path, write: Write, tmp_path: Path) -> None:
    assert SFTSettings(keep="best").refused("sft") == [
        "keep: best goes by the loss of held-out samples, and none are held out; set `holdout: 200`, or `keep: last`"
    ]
    assert SFTSettings(trl={"load_best_model_at_end": True, "eval_strategy": "epoch"}).refused("sft") == [
        "trl.load_best_model_at_end cannot be set: set `keep` in its place",
        "trl.eval_strategy cannot be set: set `holdout` in its place",
    ]
    with pytest.raises(StageError, match="there are 4 samples to train on and 5 are held out; lower holdout"):
        settings = SFTSettings(**COMMON, holdout=HELD)
        sft.train(model, write(*chats(4)), tmp_path, tmp_path / "work", settings, template=None, seed=0, progress=quiet)
