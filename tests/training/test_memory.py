"""The memory of a training: weights counted as transformers counts them, parts that add up, what would fit; one real step."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie_align.errors import ConfigError
from magpie_align.training.fitting import advice
from magpie_align.training.memory import GIB, Memory, TrainingJob, predict
from magpie_align.training.shape import Shape

LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA_70B = LLAMA_8B | {
    "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "intermediate_size": 28672,
}  # fmt: skip
PAPER = TrainingJob("sft", 8192, gpus=4, gradient_checkpointing=True, packing=True, optimizer="paged_adamw_8bit")


@pytest.mark.parametrize(
    "config",
    [
        LLAMA_8B,
        {"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
         "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936, "tie_word_embeddings": True},
        {"model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "head_dim": 128,
         "num_key_value_heads": 8, "intermediate_size": 3072, "vocab_size": 151936, "tie_word_embeddings": True},
        {"model_type": "gemma2", "hidden_size": 2304, "num_hidden_layers": 26, "num_attention_heads": 8, "head_dim": 256,
         "num_key_value_heads": 4, "intermediate_size": 9216, "vocab_size": 256000},
        {"model_type": "mistral", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32768, "tie_word_embeddings": False},
        {"model_type": "mixtral", "hidden_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 32,
         "num_key_value_heads": 8, "intermediate_size": 3584, "vocab_size": 32000, "num_local_experts": 8,
         "tie_word_embeddings": False},
    ],
    ids=lambda config: config["model_type"],
)  # fmt: skip
def test_weights_are_those_that_transformers_makes(config: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    assert Shape.of(config).parameters == sum(p.numel() for p in network.parameters())


def test_adapter_weights_are_those_that_peft_makes() -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    config = LLAMA_8B | {"num_hidden_layers": 2}
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        adapted = get_peft_model(network, LoraConfig(r=7, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert Shape.of(config).adapter_parameters(7) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_a_configuration_that_is_not_understood() -> None:
    said = "the memory of a model of type 'mamba' cannot be told: its config.json has no num_attention_heads"
    with pytest.raises(ConfigError, match=said):
        Shape.of(
            {"model_type": "mamba", "hidden_size": 5, "num_hidden_layers": 5, "vocab_size": 5, "intermediate_size": 5}
        )


def test_the_papers_trainings_fit_the_papers_gpus() -> None:
    """SFT of 8B on 4 x 80 GB without ZeRO and its DPO under ZeRO-3; neither fits 24 GB, whose cards are for QLoRA."""
    dpo = TrainingJob("dpo", 2048, 2, gpus=4, zero_stage=3, gradient_checkpointing=True)
    for job in (PAPER, dpo):
        memory = predict(LLAMA_8B, job)
        assert memory.fits(80) and not memory.fits(24)
    small = TrainingJob("sft", 2048, dtype_bytes=0.5, adapter_rank=32, gradient_checkpointing=True)
    assert predict(LLAMA_8B, small).fits(24)
    assert not predict(LLAMA_70B, replace(PAPER, gpus=8)).fits(80)


def test_what_would_fit_is_said_in_the_order_of_its_cost() -> None:
    full = TrainingJob("sft", 8192, 4, optimizer="adamw_torch_fused")
    assert advice(LLAMA_8B, replace(PAPER, gpus=1), 80) == []  # it fits
    assert advice(LLAMA_8B, full, 141) == ["gradient_checkpointing: true", "micro_batch_size: 1"]  # either
    assert advice(LLAMA_8B, full, 80) == ["gradient_checkpointing: true and micro_batch_size: 1"]  # both
    several = advice(LLAMA_70B, replace(PAPER, gpus=8), 80)
    assert several == ["ZeRO-3", "a QLoRA adapter of rank 16 on a base in 4 bits", "16 GPUs with ZeRO-3"]
    endless = replace(PAPER, gpus=1024, zero_stage=3, max_length=2**22)
    assert advice(LLAMA_70B, endless, 24) == []  # nothing is enough


@given(st.sampled_from([24, 40, 80, 141]), st.sampled_from([1, 2, 8]), st.integers(1, 4), st.booleans())
def test_what_is_said_to_fit_fits(gpu: int, gpus: int, micro: int, checkpointing: bool) -> None:
    job = TrainingJob("sft", 8192, micro, gpus, gradient_checkpointing=checkpointing)
    for said in advice(LLAMA_8B, job, gpu):
        changed = job
        for part in said.split(" and "):
            changed = replace(changed, **CHANGES[part] if part in CHANGES else _gpus(part))
        assert predict(LLAMA_8B, changed).fits(gpu), said


CHANGES: dict[str, dict[str, Any]] = {
    "gradient_checkpointing: true": {"gradient_checkpointing": True},
    "micro_batch_size: 1": {"micro_batch_size": 1},
    "ZeRO-2": {"zero_stage": 2},
    "ZeRO-3": {"zero_stage": 3},
    "the optimizer offloaded to host memory": {"offload": True},
    "optimizer: paged_adamw_8bit": {"optimizer": "paged_adamw_8bit"},
    "a LoRA adapter of rank 16": {"adapter_rank": 16},
    "a QLoRA adapter of rank 16 on a base in 4 bits": {"adapter_rank": 16, "dtype_bytes": 0.5},
}


def _gpus(said: str) -> dict[str, Any]:
    assert said.endswith(" GPUs with ZeRO-3")
    return {"gpus": int(said.split()[0]), "zero_stage": 3}


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        TrainingJob,
        method=st.sampled_from(["sft", "dpo", "kto", "orpo", "cpo", "reward"]),
        max_length=st.sampled_from([256, 2048, 8192]),
        micro_batch_size=st.integers(2, 8),
        gpus=st.sampled_from([2, 4, 8]),
        zero_stage=st.sampled_from([0, 1, 2, 3]),
        adapter_rank=st.sampled_from([None, 8, 64]),
        gradient_checkpointing=st.booleans(),
        live_reference=st.booleans(),
        optimizer=st.sampled_from(["adamw_torch", "paged_adamw_8bit", "sgd", "lion_8bit"]),
    )
)
def test_what_saves_memory_saves_memory(job: TrainingJob) -> None:
    memory = predict(LLAMA_8B, job)
    parts = dict(memory.lines())
    assert float(parts.pop("total")) == pytest.approx(sum(map(float, parts.values())), abs=0.5)
    saving: list[dict[str, Any]] = [
        {"micro_batch_size": 1}, {"gradient_checkpointing": True}, {"live_reference": False}, {"max_length": 128},
        {"dtype_bytes": 0.5, "adapter_rank": 8, "gradient_checkpointing": True},
    ]  # fmt: skip
    if job.zero_stage:
        saving += [{"offload": True}, {"gpus": 2 * job.gpus}]
    for change in saving:
        assert predict(LLAMA_8B, replace(job, **change)).total <= memory.total, change


def test_a_reserve_is_left_and_what_is_paged_may_leave() -> None:
    memory = Memory(int(10 * GIB), 0, int(10 * GIB), 0, 0, 0, 0)
    assert memory.total == 20 * GIB and memory.fits(24) and not memory.fits(21)
    assert replace(memory, paged=memory.optimizer).fits(16)


@pytest.mark.parametrize("name", ["dpo", "sft, LoRA, checkpointed"])
def test_predictions_hold_for_real_steps(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cases: `make training-memory`."""
    import trl.kernels.chunked_logprob as kernels

    from benchmarks.training_memory import compare, work_in_place

    for kernel in ("_forward_tile", "_backward_tile", "_addmm_fp32"):
        monkeypatch.setattr(kernels, kernel, getattr(kernels, kernel))  # put back behind the test
    work_in_place()
    memory, peak = compare(name, tmp_path)
    assert memory.total == pytest.approx(peak, rel=0.1)
