"""The memory of a training stage, asked of `magpie_align.training.memory`."""

from typing import Any

from magpie_align.errors import ConfigError
from magpie_align.flow.graph import Node
from magpie_align.pricing.resources import Resources
from magpie_align.pricing.shapes import BYTES, Config
from magpie_align.training.fitting import advice
from magpie_align.training.memory import GIB, TrainingJob, predict

_METHODS = {"sft": "sft", "dpo": "dpo", "kto": "kto", "cpo": "cpo", "orpo": "orpo", "reward_model": "reward"}


def memory(node: Node, config: Config, resources: Resources) -> tuple[str, str | None]:
    """GiB on each device as text, and a sentence where that is more than it has. Empty where there is no such limit."""
    device = resources.device
    if device.memory_gib is None or node.kind not in _METHODS:
        return "", None
    try:
        needed = predict(config, job(node, resources))
    except ConfigError:
        return "unknown", None
    text = f"{needed.total / GIB:.0f}"
    if needed.fits(device.memory_gib):
        return text, None
    parts = ", ".join(f"{what} {size}" for what, size in needed.lines()[:-1])
    fitting = advice(config, job(node, resources), device.memory_gib)
    return text, (
        f"this training needs {text} GiB on each GPU ({parts}), and {device.title} has {device.memory_gib:.0f}; "
        + (f"these would fit: {'; or '.join(fitting)}" if fitting else "take larger GPUs or lower max_length")
    )


def job(node: Node, resources: Resources) -> TrainingJob:
    """What decides its memory, from its settings, over all devices. FSDP2 divides what ZeRO-3 divides."""
    stage: Any = node.stage
    spread, adapter = stage.distributed, stage.adapter
    quantised = adapter is not None and adapter.quantization is not None
    return TrainingJob(
        method=_METHODS[node.kind],  # type: ignore[arg-type]
        max_length=stage.max_length,
        micro_batch_size=stage.micro_batch_size,
        gpus=resources.count,
        zero_stage=3 if spread.kind == "fsdp2" else spread.stage,
        offload=spread.offload,
        dtype_bytes=0.5 if quantised else BYTES[stage.weights],
        compute_bytes=BYTES[stage.precision],
        adapter_rank=adapter.r if adapter else None,
        gradient_checkpointing=stage.gradient_checkpointing,
        packing=getattr(stage, "packing", False),
        optimizer=stage.optimizer,
        live_reference=node.kind == "dpo" and not stage.trl.get("precompute_ref_log_probs", True),
    )
