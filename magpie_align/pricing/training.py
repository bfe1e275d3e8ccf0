"""The memory of a training stage, asked of `magpie_align.training.memory`."""

from magpie_align.errors import ConfigError
from magpie_align.flow.graph import Node
from magpie_align.pricing.resources import Resources
from magpie_align.pricing.shapes import BYTES, Config
from magpie_align.records import TRAININGS
from magpie_align.training.fitting import advice
from magpie_align.training.memory import GIB, TrainingJob, predict
from magpie_align.training.settings import TrainingSettings

_METHODS = {"reward_model": "reward"} | {kind: kind for kind in TRAININGS}


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
    would = "; or ".join(advice(config, job(node, resources), device.memory_gib)) or "nothing short of larger GPUs"
    return text, (
        f"this training needs {text} GiB on each GPU ({parts}), and {device.title} has {device.memory_gib:.0f}; what would fit: {would}"
    )


def gpus(node: Node, resources: Resources) -> int:
    """How many a training takes: as many as its setting says, or all there are."""
    distributed = _settings(node).distributed
    return resources.count if distributed.processes == "auto" else int(distributed.processes) * distributed.nodes


def job(node: Node, resources: Resources) -> TrainingJob:
    """What decides its memory, from its settings."""
    stage = _settings(node)
    adapter, spread = stage.adapter, stage.distributed
    return TrainingJob(
        method=_METHODS[node.kind],  # type: ignore[arg-type]
        max_length=stage.max_length,
        micro_batch_size=stage.micro_batch_size,
        gpus=gpus(node, resources),
        zero_stage=3 if spread.kind == "fsdp2" else spread.stage,
        offload=spread.offload,
        dtype_bytes=0.5 if adapter and adapter.quantization else BYTES[stage.weights],
        compute_bytes=BYTES[stage.precision],
        adapter_rank=adapter.r if adapter else None,
        gradient_checkpointing=stage.gradient_checkpointing,
        packing=getattr(stage, "packing", False),
        optimizer=stage.optimizer,
        live_reference=node.kind == "dpo" and not stage.trl.get("precompute_ref_log_probs", True),
    )


def _settings(node: Node) -> TrainingSettings:
    assert isinstance(node.stage, TrainingSettings)
    return node.stage
