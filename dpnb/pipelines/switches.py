"""The switches of a pipeline by the names that people know, each a line over its strategies."""

from __future__ import annotations

from typing import Any

from dpnb.nn.kernels import op_name
from dpnb.strategies.attention import AttentionSlicing, SliceSize, XFormers
from dpnb.strategies.stack import StrategyStack


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

    def enable_xformers_memory_efficient_attention(self, attention_op: Any = None) -> None:
        """See `XFormers`.

        Args:
            attention_op: an operator of `xformers.ops`, or its name there.
        """
        self.strategies.enable(XFormers(op_name(attention_op)))

    def disable_xformers_memory_efficient_attention(self) -> None:
        """Compute attention with torch's fused kernel."""
        self.strategies.disable(XFormers)
