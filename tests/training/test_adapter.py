"""Adapters: what is saved, that merged and unmerged are the same model, whose reference is the base, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from magpie_align.errors import StageError
from magpie_align.training import adapter, dpo, fit, reward_model, sft
from magpie_align.training.settings import AdapterSettings, DPOSettings, RewardModelSettings, SFTSettings
from tests.training.conftest import Write, chats, pairs
from tests.training.test_trainers import network, quiet

LORA = AdapterSettings(r=4, alpha=16, target="all-linear")


def sft_settings(**more: Any) -> SFTSettings:
    return SFTSettings(batch_size=2, learning_rate=1e-2, max_length=256, precision="float32", checkpoints=1, **more)


def weights(net: Any) -> dict[str, Any]:
    return {name: p.detach().clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize(
    "chosen",
    [
        LORA,
        LORA.model_copy(update={"dora": True, "dropout": 0.1}),
        AdapterSettings(r=2, target=["q_proj", "mlp.up_proj"], peft={"use_rslora": True}),
    ],
    ids=["lora", "dora", "few"],
)
def test_the_saved_model_is_the_base_with_its_adapter(
    chosen: AdapterSettings, model: Path, write: Write, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel

    out = tmp_path / "out"
    settings = sft_settings(adapter=chosen)
    sft.train(model, write(*chats(12)), out, tmp_path / "work", settings, template=None, seed=0, progress=quiet)
    merged, base = network(out), network(model)
    unmerged = PeftModel.from_pretrained(network(model), str(out / adapter.FOLDER)).eval()
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        here, there, before = (net(input_ids=ids).logits for net in (merged.eval(), unmerged, base.eval()))
    assert torch.allclose(here, there, rtol=1e-4, atol=1e-5)
    assert (here - before).abs().max() > 0.05  # it learnt something
    changed = {n.rpartition(".weight")[0].rpartition(".")[2] for n, p in weights(merged).items() if not p.equal(weights(base)[n])}  # fmt: skip
    every = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert changed == ({"q_proj", "up_proj"} if chosen.r == 2 else every)
    assert sorted(f.name for f in out.glob("*.safetensors")) == ["model.safetensors"]
    assert fit.load_tokenizer(out).convert_tokens_to_ids("<|eot_id|>") in merged.generation_config.eos_token_id


def test_an_adapters_reference_is_its_base(model: Path, write: Write, tmp_path: Path) -> None:
    """The first loss is log 2, and the rewards that follow are those of a whole model whose reference is the base."""
    from magpie_align.training import data
    from magpie_align.training.chat import Chat

    samples = data.prepare_dpo(write(*pairs(16)), Chat(fit.load_tokenizer(model)), 512, tmp_path / "data").dataset
    logs = []
    for live in (False, True):
        settings = DPOSettings(
            learning_rate=1e-2, batch_size=4, micro_batch_size=4, beta=0.5, precision="float32", checkpoints=0,
            adapter=LORA, trl={"precompute_ref_log_probs": not live},
        )  # fmt: skip
        work = tmp_path / str(live)
        trainer = dpo.make_trainer(network(model), fit.load_tokenizer(model), samples, settings, work, 0)
        trainer.args.logging_steps = 1
        fit.run_trainer(trainer, samples, work, quiet)
        assert trainer.ref_model is None and "ref" not in trainer.model.peft_config
        logs.append([e for e in trainer.state.log_history if "loss" in e])
    assert logs[0][0]["loss"] == pytest.approx(0.6931, abs=1e-4)
    assert abs(logs[0][-1]["rewards/margins"]) > 0.01
    for ours, other in zip(*logs, strict=True):
        for name in ("loss", "rewards/chosen", "rewards/rejected"):
            assert ours[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5)


def test_a_reward_model_keeps_its_head(model: Path, write: Write, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    settings = RewardModelSettings(
        batch_size=4,
        micro_batch_size=4,
        precision="float32",
        checkpoints=0,
        holdout=4,
        learning_rate=1e-2,
        adapter=LORA,
    )
    out = tmp_path / "out"
    reward_model.train(model, write(*pairs(12)), out, tmp_path / "work", settings, seed=0, progress=quiet)

    def load(folder: Path) -> Any:
        torch.manual_seed(1)  # the base has no head: the trained one must come from what was saved
        return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)

    merged = load(out).eval()
    unmerged = PeftModel.from_pretrained(load(model), str(out / adapter.FOLDER)).eval()
    ids = torch.arange(3, 60)[None]
    unmerged.config.pad_token_id = merged.config.pad_token_id
    with torch.no_grad():
        assert torch.allclose(merged(input_ids=ids).logits, unmerged(input_ids=ids).logits, rtol=1e-4, atol=1e-5)


def test_the_adapter_decides_the_content() -> None:
    one, two = (sft_settings(adapter=AdapterSettings(r=r)) for r in (8, 16))
    assert one.content() != two.content()
    assert sft_settings(liger=True, compile=True).content() == sft_settings().content()


def test_layers_that_the_model_does_not_have(model: Path) -> None:
    settings = sft_settings(adapter=AdapterSettings(target=["q_proj", "k_porj", "c_attn"]))
    with pytest.raises(StageError) as error:
        adapter.check_targets(network(model), settings)
    assert str(error.value) == (
        "adapter.target: the model has no layer 'k_porj'; did you mean 'k_proj'?, no layer 'c_attn'"
    )


@pytest.mark.skipif("__import__('torch').cuda.is_available()")
def test_what_needs_a_gpu_is_refused_without_one(tmp_path: Path) -> None:
    asked = {
        "adapter.quantization: nf4 needs a GPU, and there is none here; train a plain adapter without it": sft_settings(
            adapter=AdapterSettings(quantization="nf4")
        ),
        "optimizer: paged_adamw_8bit needs a GPU, and there is none here; take adamw_torch_fused": sft_settings(
            optimizer="paged_adamw_8bit"
        ),
        "liger needs a GPU, and there is none here; leave it out": sft_settings(liger=True),
    }
    for sentence, settings in asked.items():
        with pytest.raises(StageError) as error:
            fit.trl_arguments(settings, tmp_path, 0)
            fit.loading(settings, 0)
        assert str(error.value) == sentence


def test_what_decides_an_adapter_is_not_for_peft() -> None:
    chosen = AdapterSettings(peft={"lora_alpha": 3, "use_rslora": True, "lora_bais": "all"})
    assert chosen.problems() == [
        "adapter.peft.lora_alpha cannot be set: set `adapter.alpha` in its place",
        "adapter.peft.lora_bais: peft has no such setting; did you mean 'lora_bias'?",
    ]
