"""The networks' own switches, by the names that people know.

A network that belongs to a pipeline shares what is switched on with it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from dpnb.nn.attention_kernels import op_name
from dpnb.switchboard import SliceSize, Switchboard, Switchboards


class NetworkSwitches:
    """What can be switched on and off at a network with attention."""

    part_name: ClassVar[str]
    """The name of the component that the network is in a pipeline: "unet", for example."""

    def enable_xformers_memory_efficient_attention(self, attention_op: Any = None) -> None:
        """See `dpnb.XFormers`; the pipeline's other networks stay as they are.

        Args:
            attention_op: an operator of `xformers.ops`, or its name there.
        """
        self._switchboard.use_xformers(op_name(attention_op))

    def disable_xformers_memory_efficient_attention(self) -> None:
        """Compute the attention of this network with torch's fused kernel."""
        self._switchboard.use_torch_attention()

    def fuse_qkv_projections(self) -> None:
        """See `dpnb.QKVFusion`; the pipeline's other networks stay as they are."""
        self._switchboard.fuse_projections()

    def unfuse_qkv_projections(self) -> None:
        """Make this network's query, key and value by three matrix products again."""
        self._switchboard.unfuse_projections()

    @property
    def _switchboard(self) -> Switchboard:
        return Switchboards.make(self, self.part_name)


class DenoiserSwitches(NetworkSwitches):
    """What can be switched on and off at a denoising network."""

    def set_attention_slice(self, slice_size: SliceSize | None) -> None:
        """See `dpnb.AttentionSlicing`, which serves the whole pipeline; `None` switches it off."""
        self._switchboard.slice_attention(slice_size)


class TransformerSwitches(DenoiserSwitches):
    """What can be switched on and off at a transformer."""

    part_name: ClassVar[str] = "transformer"


class UNetSwitches(DenoiserSwitches):
    """What can be switched on and off at a UNet."""

    part_name: ClassVar[str] = "unet"

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """See `dpnb.FreeU`."""
        self._switchboard.enable_freeu(s1, s2, b1, b2)

    def disable_freeu(self) -> None:
        """Join backbone and skips as they are."""
        self._switchboard.disable_freeu()


class AutoencoderSwitches(NetworkSwitches):
    """What can be switched on and off at an autoencoder."""

    part_name: ClassVar[str] = "vae"

    def enable_tiling(
        self, tile: int | None = None, spill: bool = False, blended: bool = False
    ) -> None:
        """See `dpnb.VaeTiling`."""
        self._switchboard.enable_tiling(tile, spill, blended)

    def disable_tiling(self) -> None:
        """Decode and encode whole pictures."""
        self._switchboard.disable_tiling()

    def enable_slicing(self) -> None:
        """See `dpnb.VaeSlicing`."""
        self._switchboard.enable_slicing()

    def disable_slicing(self) -> None:
        """Decode and encode a batch at once."""
        self._switchboard.disable_slicing()
