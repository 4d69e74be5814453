"""The switches of a pipeline by the names that people know, each a line over its strategies."""

from __future__ import annotations

from typing import Any

import torch

from dpnb.nn.kernels import op_name
from dpnb.strategies.attention import AttentionSlicing, SliceSize, XFormers
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.storage import LayerwiseCasting


class Switches:
    """What can be switched on and off by a call."""

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on."""
        raise NotImplementedError

    def enable_attention_slicing(self, slice_size: SliceSize | None = "auto") -> None:
        """See `AttentionSlicing`; `None` switches it off."""
        self.set_attention_slice(slice_size)

    def disable_attention_slicing(self) -> None:
        """Compute attention over all heads at once."""
        self.strategies.disable(AttentionSlicing)

    def set_attention_slice(self, slice_size: SliceSize | None) -> None:
        """See `AttentionSlicing`; `None` switches it off."""
        if slice_size is None:
            self.strategies.disable(AttentionSlicing)
        else:
            self.strategies.enable(AttentionSlicing(slice_size))

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """See `FreeU`."""
        self.strategies.enable(FreeU(s1, s2, b1, b2))

    def disable_freeu(self) -> None:
        """Join backbone and skips as they are."""
        self.strategies.disable(FreeU)

    def fuse_qkv_projections(self, unet: bool = True, vae: bool = True) -> None:
        """See `QKVFusion`; what is fused already stays so."""
        fused = self.strategies.find(QKVFusion) or QKVFusion(False, False)
        self.strategies.enable(QKVFusion(unet or fused.unet, vae or fused.vae))

    def unfuse_qkv_projections(self, unet: bool = True, vae: bool = True) -> None:
        """Make query, key and value by three matrix products again."""
        fused = self.strategies.find(QKVFusion) or QKVFusion(False, False)
        left = QKVFusion(fused.unet and not unet, fused.vae and not vae)
        if left.unet or left.vae:
            self.strategies.enable(left)
        else:
            self.strategies.disable(QKVFusion)

    def enable_layerwise_casting(self, storage_dtype: torch.dtype | str = "float8_e4m3fn") -> None:
        """See `LayerwiseCasting`."""
        self.strategies.enable(LayerwiseCasting(str(storage_dtype).removeprefix("torch.")))

    def disable_layerwise_casting(self) -> None:
        """Store weights in the dtype that they compute in."""
        self.strategies.disable(LayerwiseCasting)

    def enable_xformers_memory_efficient_attention(self, attention_op: Any = None) -> None:
        """See `XFormers`.

        Args:
            attention_op: an operator of `xformers.ops`, or its name there.
        """
        self.strategies.enable(XFormers(op_name(attention_op)))

    def disable_xformers_memory_efficient_attention(self) -> None:
        """Compute attention with torch's fused kernel."""
        self.strategies.disable(XFormers)
