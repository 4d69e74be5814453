"""The switches of a pipeline by the names that people know, each a line over its strategies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from dpnb.devices import Device, parse_device
from dpnb.nn.attention_kernels import op_name
from dpnb.numbers import parse_int
from dpnb.pipelines.mixin import PipelineMixin
from dpnb.strategies.attention import AttentionSlicing, XFormers
from dpnb.strategies.components import fuse_components, unfuse_components
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Slot
from dpnb.strategies.vae import VaeSlicing, VaeTiling
from dpnb.switchboard import SliceSize


class Switches(PipelineMixin):
    """What can be switched on and off by a call."""

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
        fuse_components(self.strategies, unet=unet, vae=vae)

    def unfuse_qkv_projections(self, unet: bool = True, vae: bool = True) -> None:
        """Make query, key and value by three matrix products again."""
        unfuse_components(self.strategies, unet=unet, vae=vae)

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

    def enable_vae_slicing(self) -> None:
        """See `VaeSlicing`."""
        self.strategies.enable(VaeSlicing())

    def disable_vae_slicing(self) -> None:
        """Decode and encode a batch at once."""
        self.strategies.disable(VaeSlicing)

    def enable_vae_tiling(
        self, tile: int | None = None, spill: bool = False, blended: bool = False
    ) -> None:
        """See `VaeTiling`."""
        self.strategies.enable(VaeTiling(tile, spill, blended))

    def disable_vae_tiling(self) -> None:
        """Decode and encode whole pictures."""
        self.strategies.disable(VaeTiling)

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: Device | None = None
    ) -> None:
        """See `ModelOffload`.

        Args:
            gpu_id: the number of the accelerator, 0 by default.
            device: the accelerator; that of this machine by default.

        Raises:
            ValueError: both say which accelerator.
        """
        self.strategies.enable(ModelOffload(onload_name(gpu_id, device)))

    def disable_model_cpu_offload(self) -> None:
        """The networks are where they were before."""
        self.strategies.disable(ModelOffload)

    def enable_sequential_cpu_offload(
        self,
        gpu_id: int | None = None,
        device: Device | None = None,
        budget: int | str | None = None,
    ) -> None:
        """See `SequentialOffload`.

        Args:
            gpu_id: the number of the accelerator, 0 by default.
            device: the accelerator; that of this machine by default.
            budget: bytes of weights on the device, or text such as `"4GiB"`.

        Raises:
            ValueError: both `gpu_id` and `device` say which accelerator.
        """
        self.strategies.enable(SequentialOffload(budget, onload_name(gpu_id, device)))

    def disable_sequential_cpu_offload(self) -> None:
        """The networks are where they were before."""
        self.strategies.disable(SequentialOffload)

    def enable_group_offload(
        self,
        onload_device: Device,
        offload_device: Device = "cpu",
        offload_type: str = "block_level",
        num_blocks_per_group: int | None = None,
        non_blocking: bool = False,
        use_stream: bool = False,
        record_stream: bool = False,
        low_cpu_mem_usage: bool = False,
        offload_to_disk_path: str | None = None,
        exclude_modules: str | Iterable[str] | None = None,
    ) -> None:
        """Offload block by block, by the name that diffusers has for it: see `SequentialOffload`.

        Weights always come in on a stream of their own, ahead of their use, and from pinned
        memory of exactly their size. So `num_blocks_per_group`, `non_blocking`, `use_stream`,
        `record_stream` and `low_cpu_mem_usage` change nothing.

        Args:
            onload_device: the accelerator.
            offload_device: the CPU; nothing else is supported.
            offload_type: `"block_level"` or `"leaf_level"`, which mean the same here.
            num_blocks_per_group: has no effect.
            non_blocking: has no effect.
            use_stream: has no effect.
            record_stream: has no effect.
            low_cpu_mem_usage: has no effect.
            offload_to_disk_path: is not supported.
            exclude_modules: components that stay on the accelerator.

        Raises:
            ValueError: something is asked for that is not supported.
        """
        if offload_type not in ("block_level", "leaf_level"):
            raise ValueError(
                f'offload_type is {offload_type!r}; use "block_level" or "leaf_level".'
            )
        if parse_device(offload_device).type != "cpu":
            raise ValueError(f"offload_device is {offload_device}; weights can wait on the cpu.")
        if offload_to_disk_path is not None:
            raise ValueError(
                "offload_to_disk_path is not supported: weights wait in host memory; leave it out."
            )
        exclude = (exclude_modules,) if isinstance(exclude_modules, str) else exclude_modules or ()
        device = onload_name(None, onload_device)
        self.strategies.enable(SequentialOffload(device=device, exclude=tuple(exclude)))

    def disable_group_offload(self) -> None:
        """The networks are where they were before."""
        self.strategies.disable(SequentialOffload)

    def remove_all_hooks(self) -> None:
        """Switch off whatever places networks: they are where they were before."""
        self.strategies.use(s for s in self.strategies.active if s.slot != Slot.PLACEMENT)

    def maybe_free_model_hooks(self) -> None:
        """Put away what is on the device for the present run; it comes again when it is needed."""
        self.strategies.free_run_memory()


def onload_name(gpu_id: int | None, device: Device | None) -> str | None:
    """The name of an accelerator, `None` for that of this machine.

    Raises:
        ValueError: its number is given twice, or there is no such kind of device.
    """
    if isinstance(device, str) and device.startswith("simulated"):
        return device
    named = None if device is None else parse_device(device)
    if gpu_id is None:
        return None if named is None else str(named)
    if named is not None and named.index is not None:
        raise ValueError(
            f"gpu_id={gpu_id} and device={str(named)!r} both say which accelerator; give one of "
            "them."
        )
    return f"{'cuda' if named is None else named.type}:{parse_int('gpu_id', gpu_id, least=0)}"
