"""The networks' own switches, by the names that people know.

A network that belongs to a pipeline shares what is switched on with it.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

import torch

from dpnb.models.attention_processor import AttentionProcessors
from dpnb.nn.attention_kernels import op_name
from dpnb.switchboard import SliceSize, Switchboard, Switchboards

TORCH_BACKENDS = ("native", "_native_cudnn", "_native_efficient", "_native_flash", "_native_math")
"""Diffusers' names of torch's attention, which chooses the fastest of its kernels by itself."""


class NetworkSwitches(AttentionProcessors):
    """What can be switched on and off at a network with attention."""

    dtype: torch.dtype
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

    def set_attention_backend(self, backend: str) -> None:
        """Compute attention by torch's kernels (`"native"`) or by xFormers' (`"xformers"`).

        Raises:
            ValueError: it is another.
        """
        if backend in TORCH_BACKENDS:
            self._switchboard.use_torch_attention()
        elif backend == "xformers":
            self._switchboard.use_xformers(None)
        else:
            raise ValueError(
                f"backend is {backend!r}; attention is computed by xformers or by torch: "
                f"{', '.join(TORCH_BACKENDS)}."
            )

    def reset_attention_backend(self) -> None:
        """Compute attention by torch's kernels."""
        self._switchboard.use_torch_attention()

    def enable_layerwise_casting(
        self,
        storage_dtype: torch.dtype | str = "float8_e4m3fn",
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        """See `dpnb.LayerwiseCasting`, which serves the whole pipeline.

        Args:
            storage_dtype: of the weights.
            compute_dtype: must be the dtype that the network has.

        Raises:
            ValueError: it is another.
        """
        if compute_dtype not in (None, self.dtype):
            raise ValueError(
                f"compute_dtype is {compute_dtype}, and this network computes in {self.dtype}; "
                "load it in that dtype, or call .to(dtype) first."
            )
        self._switchboard.store_weights(str(storage_dtype).removeprefix("torch."))

    def enable_group_offload(
        self, onload_device: torch.device | str | int, *args: Any, **options: Any
    ) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "Offloading is a matter of a pipeline, which knows when each network is needed: call "
            "enable_group_offload or enable_sequential_cpu_offload of the pipeline."
        )

    def enable_cache(self, config: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "dpnb keeps nothing of one step for the next, which would change the picture; "
            "dpnb.ConditioningCache keeps what stays exactly the same."
        )

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

    @property
    def use_tiling(self) -> bool:
        """Whether it decodes and encodes in strips."""
        return self._switchboard.tiles

    @property
    def use_slicing(self) -> bool:
        """Whether it decodes and encodes the pictures of a batch one after the other."""
        return self._switchboard.slices

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
