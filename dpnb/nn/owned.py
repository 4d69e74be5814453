"""Operations on a tensor that the caller alone holds: in place where no gradient is recorded.

The result is the same to the bit; what is saved is one tensor of the activation's size.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def silu(x: Tensor) -> Tensor:
    """`x * sigmoid(x)`, overwriting `x`."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def add(x: Tensor, other: Tensor) -> Tensor:
    """`x + other`, overwriting `x`."""
    return x + other if torch.is_grad_enabled() else x.add_(other)


def multiply(x: Tensor, other: Tensor | float) -> Tensor:
    """`x * other`, overwriting `x`."""
    return x * other if torch.is_grad_enabled() else x.mul_(other)
