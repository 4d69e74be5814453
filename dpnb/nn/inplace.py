"""Operations that overwrite their argument, unless gradients are enabled.

Use them on a tensor that nothing else refers to. The result is the same to the bit; each saves one
tensor of the activation's size.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def silu(x: Tensor) -> Tensor:
    """`x * sigmoid(x)`, overwriting `x`."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh approximation of the GELU, overwriting `x`."""
    if torch.is_grad_enabled():
        return F.gelu(x, approximate="tanh")
    return torch.ops.aten.gelu_(x, approximate="tanh")  # type: ignore[no-any-return]


def add(x: Tensor, other: Tensor) -> Tensor:
    """`x + other`, overwriting `x`."""
    return x + other if torch.is_grad_enabled() else x.add_(other)


def multiply(x: Tensor, other: Tensor | float) -> Tensor:
    """`x * other`, overwriting `x`."""
    return x * other if torch.is_grad_enabled() else x.mul_(other)


def add_product(x: Tensor, factor: Tensor, other: Tensor) -> Tensor:
    """`x + factor * other`, overwriting `x`."""
    return torch.addcmul(x, factor, other) if torch.is_grad_enabled() else x.addcmul_(factor, other)


def clamp_float16(x: Tensor) -> Tensor:
    """`x` clamped to the finite range if it is float16, overwriting it; else `x` as it is."""
    if x.dtype != torch.float16:
        return x
    most = torch.finfo(x.dtype).max
    return x.clamp(-most, most) if torch.is_grad_enabled() else x.clamp_(-most, most)
