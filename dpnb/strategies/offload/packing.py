"""The weights of a block, packed in one piece of host memory, so that one copy moves them all."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

ALIGNMENT = 512
"""Every tensor begins at a multiple of this, as those do that torch allocates on CUDA."""

Views: TypeAlias = list[Tensor]


@dataclass(eq=False)
class PackedTensor:
    """One tensor in the pack, and the parameters or buffers that hold it.

    Attributes:
        holders: more than one where weights are tied.
        stride: the holder's own where its elements fill its memory, in whichever order.
        offset: bytes from the beginning of the pack.
        nbytes: of its elements.
        original_device: the device on which it was.
    """

    holders: tuple[Tensor, ...]
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    offset: int
    nbytes: int
    original_device: torch.device

    def view(self, memory: Tensor, start: int) -> Tensor:
        """The tensor in `memory`, where the pack begins at byte `start`."""
        first = (start + self.offset) // self.dtype.itemsize
        return torch.as_strided(memory.view(self.dtype), self.shape, self.stride, first)


class PackedWeights:
    """Tensors in one piece of host memory of exactly their size, each aligned.

    While they are packed, the parameters are views of that memory: what is changed in place is
    changed there. `point_to_device` lets them be views of a copy on a device instead, until
    `point_to_host`.

    Args:
        name: says whose weights these are.
        groups: the tensors; those of one group are tied and packed once.
    """

    def __init__(self, name: str, groups: Iterable[Sequence[Tensor]]) -> None:
        self.name = name
        self.items: list[PackedTensor] = []
        self.nbytes = 0
        for holders in groups:
            self._add(tuple(holders))
        self.memory = torch.empty(0, dtype=torch.uint8)
        self._packed_views: Views = []
        self._device_addresses: list[int] = []
        self._unpacked: dict[int, Tensor] = {}

    def _add(self, holders: tuple[Tensor, ...]) -> None:
        first = holders[0].detach()
        like = torch.empty_like(first, device="meta")
        nbytes = first.numel() * first.element_size()
        self.items.append(
            PackedTensor(
                holders, first.shape, like.stride(), first.dtype, self.nbytes, nbytes, first.device
            )
        )
        self.nbytes += -(-nbytes // ALIGNMENT) * ALIGNMENT

    @property
    def is_on_device(self) -> bool:
        """Whether the parameters are views of a copy on a device."""
        return bool(self._device_addresses)

    @torch.no_grad()
    @torch.inference_mode(False)
    def pack(self, memory: Tensor | None = None) -> None:
        """Move all tensors into one piece of memory, one after the other.

        Args:
            memory: where to; fresh host memory by default.
        """
        self.memory = allocate_host_memory(self.nbytes) if memory is None else memory
        for item in self.items:
            view = item.view(self.memory, 0)
            view.copy_(item.holders[0].data)
            self._packed_views.append(view)
            for holder in item.holders:
                holder.data = view

    @torch.no_grad()
    @torch.inference_mode(False)
    def unpack(self) -> None:
        """Give every tensor memory of its own, on the device on which it was.

        May be called again where it was broken off.
        """
        for index, (item, view) in enumerate(zip(self.items, self._packed_views, strict=False)):
            held = [holder for holder in item.holders if holder.data_ptr() == view.data_ptr()]
            if held and index not in self._unpacked:
                values = torch.empty_strided(
                    item.shape, item.stride, dtype=item.dtype, device=item.original_device
                )
                self._unpacked[index] = values.copy_(view)
            for holder in held:
                holder.data = self._unpacked[index]
        self._packed_views, self._device_addresses, self._unpacked = [], [], {}
        self.memory = torch.empty(0, dtype=torch.uint8)

    def set_original_device(self, device: torch.device) -> None:
        """Let this be the device to which `unpack` brings all tensors."""
        for item in self.items:
            item.original_device = device

    def make_views(self, memory: Tensor, start: int) -> Views:
        """The tensors in a copy of the pack that begins at byte `start` of `memory`."""
        return [item.view(memory, start) for item in self.items]

    def point_to_device(self, views: Views) -> None:
        """Let the parameters be views of a device copy; one that was replaced stays as it is."""
        self._device_addresses = []
        for item, view, packed_view in zip(self.items, views, self._packed_views, strict=True):
            self._device_addresses.append(view.data_ptr())
            for holder in item.holders:
                if holder.data_ptr() == packed_view.data_ptr():
                    holder.data = view

    def point_to_host(self, *, force: bool = False) -> None:
        """Let the parameters be views of host memory again.

        Args:
            force: also those that were replaced meanwhile, as a layer may do while it computes.
        """
        # Fewer than all where `point_to_device` was broken off; the others are on the host.
        packed = zip(self.items, self._packed_views, self._device_addresses, strict=False)
        for item, packed_view, address in packed:
            for holder in item.holders:
                if force or holder.data_ptr() == address:
                    holder.data = packed_view
        self._device_addresses = []

    @torch.no_grad()
    @torch.inference_mode(False)
    def adopt_changes(self) -> bool:
        """Pack the values of parameters that somebody has given other memory.

        Returns:
            Whether that could be done: not where shape, dtype or a tie have changed.
        """
        for item, packed_view in zip(self.items, self._packed_views, strict=True):
            address = packed_view.data_ptr()
            changed = [holder for holder in item.holders if holder.data_ptr() != address]
            if any(h.dtype != item.dtype or h.shape != item.shape for h in item.holders):
                return False
            if changed and len(item.holders) > 1:
                return False
            for holder in changed:
                packed_view.copy_(holder.data)
                holder.data = packed_view
        return True


def allocate_host_memory(nbytes: int) -> Tensor:
    """Host memory that shares no page with anything else, `[nbytes]` of uint8."""
    if not nbytes:
        return torch.empty(0, dtype=torch.uint8)
    if sys.platform == "win32":
        return torch.frombuffer(mmap.mmap(-1, nbytes), dtype=torch.uint8)
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return torch.frombuffer(mmap.mmap(-1, nbytes, flags=private), dtype=torch.uint8)
