"""Muon for many small matrices: those of one shape are stacked, so each Newton-Schulz step is a single batched product.

Momentum is orthogonalised by the quintic Newton-Schulz iteration (K. Jordan et al., 2024) and scaled by
0.2 * sqrt(longer side), which matches the size of an AdamW update (Liu et al., 2025, arXiv 2502.16982, eq. 4).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch

_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalise(stack: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest semi-orthogonal matrices, roughly, of a stack (count, rows, columns) with rows <= columns."""
    x = stack.bfloat16()
    x = x / (x.flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.float()


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay over 2-D parameters."""

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(list(params), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[torch.Tensor]] = {}
            for parameter in group["params"]:
                shapes.setdefault(tuple(sorted(parameter.shape)), []).append(parameter)
            with torch.no_grad():
                for shape, parameters in shapes.items():
                    self._step_shape(shape, parameters, group)

    def _step_shape(self, shape: tuple[int, ...], parameters: list[torch.Tensor], group: dict[str, Any]) -> None:
        gradients = torch.stack([_wide(p.grad, shape) for p in parameters if p.grad is not None])
        state = self.state[parameters[0]]
        momentum = state.setdefault("momentum", torch.zeros_like(gradients))
        momentum.lerp_(gradients, 1 - group["momentum"])
        updates = orthogonalise(gradients.lerp(momentum, group["momentum"])) * (0.2 * max(shape) ** 0.5)
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(_wide(update, tuple(parameter.shape)), alpha=-group["lr"])


def _wide(matrix: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """`matrix` or its transpose, whichever has `shape`."""
    return matrix if tuple(matrix.shape) == shape else matrix.T
