"""Muon: momentum whose step is made orthogonal, for the matrices and kernels of a network.

Keller Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks",
https://kellerjordan.github.io/posts/muon. The quintic's coefficients are theirs.
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.emoji.precision import autocast_dtype
from dpnb.emoji.workers import Workers

QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; the matrices are dealt out between `workers`.

    Args:
        parameters: weights of two or more dimensions; all but the first count as one.
        lr: learning rate.
        workers: the processes that share the work; each must hold equal gradients.
        momentum: share of the running gradient that is kept.
        weight_decay: decoupled, per unit of learning rate.
        iterations: Newton-Schulz iterations.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        workers: Workers,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        iterations: int = 5,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "iterations": iterations,
        }
        super().__init__(parameters, defaults)
        self.workers = workers

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter by its orthogonalised momentum."""
        for group in self.param_groups:
            self._step_group(group)
        return None if closure is None else closure()

    def _step_group(self, group: dict[str, Any]) -> None:
        parameters: list[Tensor] = group["params"]
        moves = [torch.zeros_like(parameter) for parameter in parameters]
        for index, (parameter, move) in enumerate(zip(parameters, moves, strict=True)):
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            momentum = state.setdefault("momentum", torch.zeros_like(parameter))
            momentum.lerp_(parameter.grad, 1 - group["momentum"])
            if index % self.workers.count == self.workers.rank:
                nesterov = parameter.grad.lerp(momentum, group["momentum"])
                move.copy_(orthogonalise(nesterov.flatten(1), group["iterations"]).view_as(move))
        self.workers.add_up(moves)
        for parameter, move in zip(parameters, moves, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(move, alpha=-group["lr"])


def orthogonalise(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Roughly `U V^T` of `matrix = U S V^T`, (rows, columns), scaled by `sqrt(rows / columns)`.

    Newton-Schulz in the device's quick arithmetic; singular values come out between about 0.7 and
    1.2. The scale is never below one.
    """
    a, b, c = QUINTIC
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(autocast_dtype(matrix.device))
    x = x.mT if is_tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.mT if is_tall else x
    scale: float = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
    orthogonal: Tensor = x.to(matrix.dtype) * scale
    return orthogonal
