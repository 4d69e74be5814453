"""Activations by the names that settings have for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional as F

from dpnb.nn.inplace import silu

Activation: TypeAlias = Callable[[Tensor], Tensor]

ACTIVATIONS: Mapping[str, Activation] = {
    "silu": silu,
    "swish": silu,
    "gelu": F.gelu,
    "mish": F.mish,
    "relu": F.relu,
}
"""For each name a function that may overwrite its argument."""
