"""The logits processor that controls the first token of a completion, loaded by vLLM's V1 engine by its name.

A module of its own, because it is vLLM's class and is imported in vLLM's worker. Requests ask for it in their `extra_args`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from magpie_align.engines.vllm import FIRST_TOKEN

if TYPE_CHECKING:
    from vllm.config import VllmConfig


@dataclass(frozen=True)
class First:
    """What one request wants of its first token. `written` is vLLM's own growing list of what it has generated."""

    banned: torch.Tensor
    heat: float
    written: list[int]


class FirstTokenProcessor(LogitsProcessor):
    """Bans ids and divides logits by `heat` where nothing has been generated yet, before vLLM applies the temperature."""

    def __init__(self, vllm_config: "VllmConfig", device: torch.device, is_pin_memory: bool) -> None:
        self._device = device
        self._wanted: dict[int, First] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow requests that join, leave and change places; forget each once its first token is there."""
        if batch_update:
            for row in batch_update.removed:
                self._wanted.pop(row, None)
            for row, params, _, written in batch_update.added:
                self._put(row, self._read((params.extra_args or {}).get(FIRST_TOKEN), written))
            for one, other, direction in batch_update.moved:
                moving, other_first = self._wanted.pop(one, None), self._wanted.pop(other, None)
                self._put(other, moving)
                self._put(one, other_first if direction == MoveDirectionality.SWAP else None)
        self._wanted = {row: first for row, first in self._wanted.items() if not first.written}

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        for row, first in self._wanted.items():
            logits[row, first.banned] = -float("inf")
            logits[row] /= first.heat
        return logits

    def _read(self, asked: dict[str, Any] | None, written: list[int]) -> First | None:
        if asked is None:
            return None
        return First(torch.tensor(asked["banned"], dtype=torch.long, device=self._device), asked["heat"], written)

    def _put(self, row: int, first: First | None) -> None:
        self._wanted.pop(row, None)
        if first:
            self._wanted[row] = first
