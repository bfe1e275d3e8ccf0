"""Model FLOPs utilisation: the share of a device's peak that a training's own arithmetic makes up.

Counted as by Chowdhery et al. 2022 (PaLM, appendix B): 6 a weight and token, 12 x layers x width x length a token for
attention, nothing for what gradient checkpointing computes anew; a weight that is not trained takes 4.
"""

from typing import Any

PEAKS = {
    "B200": 2250e12,  # NVIDIA Blackwell architecture brief, dense
    "H200": 989e12,  # NVIDIA H200 data sheet, half of the figure with sparsity
    "GH200": 989e12,
    "H100 PCIe": 756e12,  # NVIDIA H100 data sheet
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H20": 148e12,
    "A100": 312e12,  # NVIDIA A100 data sheet
    "A10G": 70e12,
    "A10": 125e12,  # NVIDIA A10 data sheet
    "L40S": 362e12,  # NVIDIA L40S data sheet
    "L4": 121e12,  # NVIDIA L4 data sheet
    "RTX 4090": 165.2e12,  # NVIDIA Ada architecture white paper, float32 accumulation
    "RTX 3090": 71e12,  # NVIDIA GA102 architecture white paper, float32 accumulation
}
"""Dense bfloat16 FLOP/s by a part of the device's name; the longest part that fits counts."""


def peak(device: str, precision: str) -> float | None:
    """FLOP/s that a device can do at most in bfloat16; None where that is not known."""
    fits = [name for name in PEAKS if name in device]
    return PEAKS[max(fits, key=len)] if fits and precision == "bfloat16" else None


class Cost:
    """The FLOPs of training on sequences, from a model's weights and its configuration. None for mixtures of experts."""

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config()
        read = model.get_input_embeddings().weight
        tied = config.tie_word_embeddings
        used = [p for p in model.parameters() if _dimensions(p) > 1 and (tied or p is not read)]
        self._token = sum((6 if p.requires_grad else 4) * _size(p) for p in used)
        heads = config.num_attention_heads
        width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
        self._square = 12 * config.num_hidden_layers * width
        self._known = not any(getattr(config, name, None) for name in ("num_local_experts", "num_experts"))

    def __call__(self, tokens: float, squares: float) -> float | None:
        """FLOPs of a forward and a backward pass over sequences of so many tokens, and so many squared lengths, in all."""
        return self._token * tokens + self._square * squares if self._known else None


def _size(weight: Any) -> int:
    """The number of elements of a weight, of which this process may hold a part."""
    packed = 2 if type(weight).__name__ == "Params4bit" else 1  # two weights a byte
    return packed * int(getattr(weight, "ds_numel", None) or weight.numel())


def _dimensions(weight: Any) -> int:
    return len(getattr(weight, "ds_shape", weight.shape))
