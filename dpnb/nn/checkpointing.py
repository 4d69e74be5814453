"""Blocks whose activations may be computed again in a backward pass instead of being kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override


class Checkpointed(nn.Module):
    """A block that can trade time for memory in training (Chen et al. 2016, arXiv:1604.06174).

    Attributes:
        is_checkpointed: whether a forward pass in training keeps its inputs alone.
    """

    is_checkpointed: bool = False

    @override
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute; in a backward pass once more, where that was asked for."""
        if self.is_checkpointed and self.training and torch.is_grad_enabled():
            return checkpoint(super().__call__, *args, use_reentrant=False, **kwargs)
        return super().__call__(*args, **kwargs)
