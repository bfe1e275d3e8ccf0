"""Whether a model's weights and its KV cache fit on the devices that share it, and what would."""

from dataclasses import dataclass

from magpie_align.engines import EngineSettings
from magpie_align.pricing.resources import Resources
from magpie_align.pricing.shapes import BYTES, kv_bytes
from magpie_align.training.shape import Shape

GIB = 1 << 30
UTILIZATION = 0.9
"""vLLM's own default of `gpu_memory_utilization`."""
ACTIVATIONS = 2 * GIB
"""What vLLM keeps beside weights and cache: activations of its profiling run and CUDA graphs, 1 to 2 GiB at 8B and 70B."""
BATCH = 256
"""Sequences at once where `max_num_seqs` is left out: vLLM's own default."""


@dataclass(frozen=True)
class Fit:
    """Bytes on each of `gpus` devices that share a model. `cache` is what is left for the KV cache, below 0 if nothing is."""

    gpus: int
    weights: float
    cache: float
    one: float
    """What one sequence of the greatest length takes."""
    batch: float
    """Sequences of mean length that run at once."""

    @property
    def fits(self) -> bool:
        return self.cache >= self.one

    @property
    def text(self) -> str:
        shared = f" x{self.gpus}" if self.gpus > 1 else ""
        return f"{self.weights / GIB:.0f}+{max(self.cache, 0) / GIB:.0f}{shared}"


def fit(shape: Shape, engine: EngineSettings, resources: Resources, mean: float, gpus: int | None = None) -> Fit:
    """Of a model in vLLM; `mean` tokens of a sequence decide how many run at once. `gpus` in place of the engine's own number."""
    gpus = gpus or engine.tensor_parallel_size
    element = BYTES[engine.dtype]
    weights = shape.parameters * element / gpus
    token = kv_bytes(shape, element) / gpus
    most = engine.max_num_seqs or BATCH
    longest = engine.max_model_len or mean
    device = resources.device
    if device.memory_gib is None:
        return Fit(gpus, weights, (engine.kv_cache_gb or 1) * GIB, longest * token, most)
    room = device.memory_gib * GIB * (engine.gpu_memory_utilization or UTILIZATION) - weights - ACTIVATIONS
    if engine.kv_cache_gb:
        room = min(room, engine.kv_cache_gb * GIB)
    return Fit(gpus, weights, room, longest * token, max(1.0, min(most, room / (mean * token))))


def laid_out(shape: Shape, engine: EngineSettings, resources: Resources, mean: float) -> Fit | None:
    """Over the fewest devices (a power of two, at most a node's 8) on which half a full batch runs; where there are none, those
    that run most at once; None if no number there is holds the model."""
    tries = [fit(shape, engine, resources, mean, gpus) for gpus in (1, 2, 4, 8) if gpus <= resources.count]
    able = [one for one in tries if one.fits]
    wide = [one for one in able if one.batch >= (engine.max_num_seqs or BATCH) / 2]
    return wide[0] if wide else max(able, key=lambda one: one.batch, default=None)


def refusal(model: str, made: Fit, better: Fit | None, resources: Resources) -> str:
    """One sentence: what does not fit, and what would."""
    device = resources.device
    need = made.weights + ACTIVATIONS + made.one
    have = (device.memory_gib or 0) * GIB * UTILIZATION
    which = f"{made.gpus} GPUs" if made.gpus > 1 else "one GPU"
    mend = (
        f"set engine.tensor_parallel_size={better.gpus}"
        if better
        else f"not even {resources.count} of them hold it; take more or larger ones"
    )
    return (
        f"{model} does not fit on {which} ({device.title}): {made.weights / GIB:.0f} GiB of weights and "
        f"{made.one / GIB:.1f} GiB for one sequence make {need / GIB:.0f} GiB a GPU with what vLLM needs itself, of {have / GIB:.0f} "
        f"that it takes; {mend}"
    )
