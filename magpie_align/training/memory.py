"""How much memory a training needs on each GPU, from the model's `config.json` and the settings alone; no torch is imported.

predict     bytes by what holds them, at the fullest moment of a step
Memory      those bytes, as a table, and whether they fit a GPU
advice      what would make a training fit, tried in the order of what it costs (see `magpie_align.training.fitting`)

The formulas are those of a decoder as transformers runs it (RMS norms, grouped attention, gated MLP) under TRL's trainers.
`tests/training/test_memory.py` holds them against the allocations of real steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from magpie_align.training.shape import Shape

GIB = 2**30
RESERVE = 1.5 * GIB
"""What is no tensor of ours: the driver's context, cuBLAS workspaces, communication."""
FRAGMENTED = 0.04
"""The share of a GPU that the allocator cannot use."""

Method = Literal["sft", "dpo", "kto", "orpo", "cpo", "reward"]
PAIRED = ("dpo", "orpo", "cpo", "reward")
"""Methods whose micro batch holds two sequences a sample."""
FUSED = ("sft", "dpo", "kto")
"""Methods whose trainer in TRL never lays out the logits of all tokens."""
TOKEN_TILE, VOCABULARY_TILE = 4096, 32768
"""How many logits TRL's fused loss holds at once, whatever the vocabulary."""
QUANTISED = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight in 4 bits with its scales, which are quantised too (Dettmers et al. 2023, section 3)."""
ZERO_LIVE = 1_000_000_000
"""Weights that DeepSpeed gathers at once under ZeRO-3, its own default. Its buckets are of hidden x hidden gradients."""


@dataclass(frozen=True)
class TrainingJob:
    """What decides the memory of a training beside its model. `gpus` are all of the run, over all machines.

    `dtype_bytes` is the size of a weight as loaded: 4, 2, or 0.5 for a base quantised to 4 bits; `compute_bytes` that of an
    activation. `adapter_rank` is for an adapter on every linear layer; None trains all weights. `offload` keeps the optimizer
    (and under ZeRO-2 and 3 the gradients) in host memory. `zero_stage` 0 is plain data parallelism; FSDP2 counts as
    stage 3.
    """

    method: Method
    max_length: int
    micro_batch_size: int = 1
    gpus: int = 1
    zero_stage: int = 0
    offload: bool = False
    dtype_bytes: float = 2
    compute_bytes: int = 2
    adapter_rank: int | None = None
    gradient_checkpointing: bool = False
    fused_loss: bool = True
    packing: bool = False
    optimizer: str = "adamw_torch"
    live_reference: bool = False

    @property
    def tokens(self) -> int:
        """Positions that a GPU holds at once."""
        return self.max_length * self.micro_batch_size * (2 if self.method in PAIRED else 1)


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU at the fullest moment of a step; the fields add up to `total`.

    `logits` is what the loss needs beyond the layers' activations, `buffers` what communication and the step of the optimizer
    hold. `paged` is the part of `optimizer` that moves to host memory by itself when the GPU is full.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    reference: int
    buffers: int
    paged: int = 0

    @property
    def total(self) -> int:
        """The bytes that tensors take."""
        return sum(size for _, size in self._parts())

    def _parts(self) -> list[tuple[str, int]]:
        names = ("weights", "gradients", "optimizer", "activations", "logits", "reference", "buffers")
        return [(name, getattr(self, name)) for name in names]

    def lines(self) -> list[tuple[str, str]]:
        """(what, GiB) for a table, the largest first, the total last."""
        parts = sorted(self._parts(), key=lambda part: -part[1])
        return [(name, f"{size / GIB:.1f}") for name, size in parts if size] + [("total", f"{self.total / GIB:.1f}")]

    def fits(self, gpu_gb: float) -> bool:
        """Whether a GPU sold as one of `gpu_gb` GB (2^30 bytes each) can run it, with a reserve for what is no tensor."""
        return self.total - self.paged + RESERVE <= gpu_gb * GIB * (1 - FRAGMENTED)


def predict(config: Mapping[str, Any], job: TrainingJob) -> Memory:
    """The memory of `job` on a model with this `config.json`. Raises ConfigError where the configuration is not understood."""
    shape = Shape.of(config)
    trained = shape.adapter_parameters(job.adapter_rank) if job.adapter_rank else shape.parameters
    weights, gradients, optimizer = _states(shape, job, trained)
    layers, loss = _activations(shape, job), _loss(shape, job)
    step, communication = _step(job, trained), _communication(shape, job, trained)
    busy = max(layers.backward, layers.kept + loss)
    return Memory(
        weights=int(weights),
        gradients=int(gradients),
        optimizer=int(optimizer),
        activations=int(layers.backward if layers.backward >= layers.kept + loss else layers.kept),
        logits=int(0 if layers.backward >= layers.kept + loss else loss),
        reference=int(_weights(shape, job) if _has_reference(job) else 0),
        buffers=int(communication + max(step - busy, 0)),
        paged=int(optimizer) if job.optimizer.startswith("paged") else 0,
    )


def _has_reference(job: TrainingJob) -> bool:
    return job.method in ("dpo", "kto") and job.live_reference and job.adapter_rank is None


def _weights(shape: Shape, job: TrainingJob) -> float:
    """A base quantised to 4 bits keeps its embeddings, its norms and a scale for every 64 weights in 16 bits."""
    share = job.gpus if job.zero_stage == 3 else 1
    if job.dtype_bytes >= 2:
        return shape.parameters * job.dtype_bytes / share
    linear = shape.layers * sum(i * o for i, o in shape.linear)
    return (linear * QUANTISED + (shape.parameters - linear) * 2) / share


def _states(shape: Shape, job: TrainingJob, trained: int) -> tuple[float, float, float]:
    """Weights, gradients, optimizer. No copy in 32 bits is kept of 16-bit weights, under ZeRO neither (see `distributed`)."""
    zero, adapter = job.zero_stage, job.adapter_rank is not None
    own = 4.0 if adapter else job.dtype_bytes
    weights = _weights(shape, job) + (trained * own / (job.gpus if zero == 3 else 1) if adapter else 0)
    gradients = trained * own / (job.gpus if zero >= 2 else 1)
    optimizer = trained * _optimizer_bytes(job.optimizer, own) / (job.gpus if zero else 1)
    if job.offload:
        return weights, 0.0 if zero >= 2 else gradients, 0.0
    return weights, gradients, optimizer


def _optimizer_bytes(name: str, own: float) -> float:
    """Bytes a trained weight; torch keeps its states in the type of the weight, bitsandbytes in 8 bits with a scale for 256."""
    states = 1 if "lion" in name else 0 if name in ("sgd", "adafactor") else 2
    return states * ((1 + 4 / 256) if "8bit" in name else own)


@dataclass(frozen=True)
class Layers:
    """Bytes that the layers hold: `kept` when the forward pass ends, `backward` at the fullest moment of the way back."""

    kept: float
    backward: float


def _activations(shape: Shape, job: TrainingJob) -> Layers:
    """What autograd keeps of a block, a token: see `_block`. With checkpointing its input alone, and one block is done anew."""
    residual = shape.hidden * job.compute_bytes
    block, gradients = _block(shape, job)
    kept = (residual if job.gradient_checkpointing else block) * shape.layers
    anew = block if job.gradient_checkpointing else 0.0
    last_norm = shape.hidden * (4 + 3 * job.compute_bytes)
    return Layers((kept + last_norm) * job.tokens, (kept + anew + gradients) * job.tokens)


def _block(shape: Shape, job: TrainingJob) -> tuple[float, float]:
    """Bytes a token that a block keeps for its way back, and those of the gradients in flight on it.

    A norm keeps its input in 32 bits, its normalised value and its output; attention keeps query, key, value and its output;
    the MLP gate, its activation, up and their product. What only the gradient of a weight needs is not kept of frozen weights;
    an adapter keeps the input of every layer for itself, and its own narrow output.
    """
    h, f, c = shape.hidden, shape.intermediate * shape.active, job.compute_bytes
    attention = c * (3 * shape.query + 2 * shape.key) + 4 * shape.heads
    if job.adapter_rank:
        own = c * sum(i + job.adapter_rank for i, _ in shape.used)
        return 2 * h * 4 + attention + 3 * f * c + own, c * (f + 5.5 * h)
    return 2 * h * (4 + 2 * c) + attention + 4 * f * c, c * (f + 5.5 * h)


def _loss(shape: Shape, job: TrainingJob) -> float:
    """TRL's fused loss holds a tile of logits and gradients in 32 bits; otherwise all logits, their softmax and gradient."""
    if job.method == "reward":
        return 0.0
    head = 0.0 if job.adapter_rank else shape.vocabulary * shape.hidden * (4 + job.dtype_bytes)
    if job.fused_loss and job.method in FUSED:
        tile = min(job.tokens, TOKEN_TILE) * VOCABULARY_TILE * job.compute_bytes
        return tile + job.tokens * shape.hidden * (4 + job.compute_bytes) + head
    return job.tokens * shape.vocabulary * (job.compute_bytes + 12.0)


def _step(job: TrainingJob, trained: int) -> float:
    """What the step of torch's own AdamW needs besides: the square roots of all second moments at once. Fused ones need nothing."""
    plain = job.optimizer in ("adamw_torch", "adamw") and not job.zero_stage
    return trained * (4.0 if job.adapter_rank else job.dtype_bytes) if plain else 0.0


def _communication(shape: Shape, job: TrainingJob, trained: int) -> float:
    """Data parallelism lays the gradients into buckets of their own; ZeRO reduces in buckets and gathers layers ahead."""
    own = 4.0 if job.adapter_rank else job.dtype_bytes
    casts = shape.parameters * 2.0 if job.dtype_bytes == 4 and job.compute_bytes == 2 else 0.0
    if job.gpus == 1:
        return casts
    if job.zero_stage == 0:
        return casts + trained * own
    bucket = 2 * shape.hidden**2 * own
    live = min(ZERO_LIVE, shape.parameters) * min(job.dtype_bytes, 2.0) if job.zero_stage == 3 else 0.0
    return casts / (job.gpus if job.zero_stage == 3 else 1) + bucket + live
