"""The networks' own switches, by the names that people know: a line each over the strategies.

A network that belongs to a pipeline shares what is switched on with it. Strategies are made for
networks, so that a network asks for them only when a switch is used.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from dpnb.nn.attention_kernels import op_name

if TYPE_CHECKING:
    from dpnb.strategies.attention import SliceSize
    from dpnb.strategies.stack import StrategyStack
    from dpnb.strategies.strategy import Plan


def as_stored(network: nn.Module) -> AbstractContextManager[Plan]:
    """Within it nothing is switched on at a network, and its weights are as a file holds them.

    What is given is what was switched on.
    """
    from dpnb.strategies.attachment import attachment_of

    shared = attachment_of(network).shared
    return nullcontext(frozenset()) if shared is None else shared.suspended()


class NetworkSwitches:
    """What can be switched on and off at a network with attention."""

    part_name: ClassVar[str]
    """The name of the component that the network is in a pipeline: "unet", for example."""

    fusion: ClassVar[str]
    """Which field of `dpnb.QKVFusion` means it: "unet" for every denoising network, or "vae"."""

    def enable_xformers_memory_efficient_attention(self, attention_op: Any = None) -> None:
        """See `dpnb.XFormers`; the pipeline's other networks stay as they are.

        Args:
            attention_op: an operator of `xformers.ops`, or its name there.
        """
        from dpnb.strategies.components import attend_by_xformers

        stack = self._stack()
        attend_by_xformers(stack, self._name_in(stack), op_name(attention_op))

    def disable_xformers_memory_efficient_attention(self) -> None:
        """Compute the attention of this network with torch's fused kernel."""
        from dpnb.strategies.components import attend_by_torch

        stack = self._stack()
        attend_by_torch(stack, self._name_in(stack))

    def fuse_qkv_projections(self) -> None:
        """See `dpnb.QKVFusion`; the pipeline's other networks stay as they are."""
        from dpnb.strategies.components import fuse

        fuse(self._stack(), **{self.fusion: True})

    def unfuse_qkv_projections(self) -> None:
        """Make this network's query, key and value by three matrix products again."""
        from dpnb.strategies.components import unfuse

        unfuse(self._stack(), **{self.fusion: True})

    def _name_in(self, stack: StrategyStack) -> str:
        """The name of the component that the network is there."""
        own: object = self
        names = (name for name, network in stack.networks.named() if network is own)
        return next(names, self.part_name)

    def _stack(self) -> StrategyStack:
        from dpnb.strategies.stack import stack_of

        assert isinstance(self, nn.Module)
        return stack_of(self, self.part_name)


class DenoiserSwitches(NetworkSwitches):
    """What can be switched on and off at a denoising network."""

    fusion: ClassVar[str] = "unet"

    def set_attention_slice(self, slice_size: SliceSize | None) -> None:
        """See `dpnb.AttentionSlicing`, which serves the whole pipeline; `None` switches it off."""
        from dpnb.strategies.attention import AttentionSlicing

        if slice_size is None:
            self._stack().disable(AttentionSlicing)
        else:
            self._stack().enable(AttentionSlicing(slice_size))


class TransformerSwitches(DenoiserSwitches):
    """What can be switched on and off at a transformer."""

    part_name: ClassVar[str] = "transformer"


class UNetSwitches(DenoiserSwitches):
    """What can be switched on and off at a UNet."""

    part_name: ClassVar[str] = "unet"

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """See `dpnb.FreeU`."""
        from dpnb.strategies.freeu import FreeU

        self._stack().enable(FreeU(s1, s2, b1, b2))

    def disable_freeu(self) -> None:
        """Join backbone and skips as they are."""
        from dpnb.strategies.freeu import FreeU

        self._stack().disable(FreeU)


class AutoencoderSwitches(NetworkSwitches):
    """What can be switched on and off at an autoencoder."""

    part_name: ClassVar[str] = "vae"
    fusion: ClassVar[str] = "vae"

    def enable_tiling(
        self, tile: int | None = None, spill: bool = False, blended: bool = False
    ) -> None:
        """See `dpnb.VaeTiling`."""
        from dpnb.strategies.vae import VaeTiling

        self._stack().enable(VaeTiling(tile, spill, blended))

    def disable_tiling(self) -> None:
        """Decode and encode whole pictures."""
        from dpnb.strategies.vae import VaeTiling

        self._stack().disable(VaeTiling)

    def enable_slicing(self) -> None:
        """See `dpnb.VaeSlicing`."""
        from dpnb.strategies.vae import VaeSlicing

        self._stack().enable(VaeSlicing())

    def disable_slicing(self) -> None:
        """Decode and encode a batch at once."""
        from dpnb.strategies.vae import VaeSlicing

        self._stack().disable(VaeSlicing)
