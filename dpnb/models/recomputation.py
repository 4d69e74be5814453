"""Gradient checkpointing: what layers compute within is computed again for gradients, not kept.

Chen et al. (2016), Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dpnb.nn.attention import PictureAttention
from dpnb.nn.no_split import NoSplit
from dpnb.nn.resnet import ResnetBlock
from dpnb.nn.transformer import SpatialTransformer

LAYERS = (ResnetBlock, SpatialTransformer, PictureAttention, NoSplit)
"""Those of which only input and output are kept."""


@dataclass(frozen=True, eq=False)
class Recomputation:
    """Stands for a layer's `forward`, and keeps nothing of what it computes within.

    Attributes:
        compute: the layer's own.
    """

    compute: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute as the layer does; where gradients are recorded, once more for them."""
        if not torch.is_grad_enabled():
            return self.compute(*args, **kwargs)
        return checkpoint(self.compute, *args, use_reentrant=False, **kwargs)


class Recomputing(nn.Module):
    """A network that can trade time for memory while it is trained."""

    def enable_gradient_checkpointing(self, gradient_checkpointing_func: Any = None) -> None:
        """Keep less for gradients, which stay the same, and compute it again for them.

        Args:
            gradient_checkpointing_func: must be `None`; torch's own is used.

        Raises:
            ValueError: another function is given.
        """
        if gradient_checkpointing_func is not None:
            raise ValueError(
                "gradient_checkpointing_func cannot be chosen: torch.utils.checkpoint computes "
                "again what gradients need; leave it out."
            )
        for layer in self._recomputed_layers():
            if not isinstance(layer.forward, Recomputation):
                vars(layer)["forward"] = Recomputation(layer.forward)

    def disable_gradient_checkpointing(self) -> None:
        """Keep for gradients what they need."""
        for layer in self._recomputed_layers():
            if isinstance(layer.forward, Recomputation):
                del vars(layer)["forward"]

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether layers compute again what gradients need."""
        return any(isinstance(layer.forward, Recomputation) for layer in self._recomputed_layers())

    def _recomputed_layers(self) -> Iterator[nn.Module]:
        return (layer for layer in self.modules() if isinstance(layer, LAYERS))
