"""The weights of several layers, packed in one piece of host memory."""

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
class Item:
    """One tensor in the pack, and the parameters or buffers that hold it.

    Attributes:
        holders: more than one where weights are tied.
        stride: the holder's own where its elements fill its memory, in whichever order.
        offset: bytes from the beginning of the pack.
        nbytes: of its elements.
        home: the device on which it was.
    """

    holders: tuple[Tensor, ...]
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    offset: int
    nbytes: int
    home: torch.device

    def view(self, memory: Tensor, start: int) -> Tensor:
        """The tensor in `memory`, where the pack begins at byte `start`."""
        first = (start + self.offset) // self.dtype.itemsize
        return torch.as_strided(memory.view(self.dtype), self.shape, self.stride, first)


class PackedWeights:
    """Tensors in one piece of host memory of exactly their size, each aligned.

    While they are packed, the parameters are views of that memory: what is changed in place is
    changed there. `lend` lets them be views of a copy on a device instead, `recall` ends that.

    Args:
        name: says whose weights these are.
        groups: the tensors; those of one group are tied and packed once.
    """

    def __init__(self, name: str, groups: Iterable[Sequence[Tensor]]) -> None:
        self.name = name
        self.items: list[Item] = []
        self.nbytes = 0
        for holders in groups:
            self._add(tuple(holders))
        self.host = torch.empty(0, dtype=torch.uint8)
        self._at_home: Views = []
        self._lent: list[int] = []
        self._unpacked: dict[int, Tensor] = {}

    def _add(self, holders: tuple[Tensor, ...]) -> None:
        first = holders[0].detach()
        like = torch.empty_like(first, device="meta")
        nbytes = first.numel() * first.element_size()
        self.items.append(
            Item(
                holders, first.shape, like.stride(), first.dtype, self.nbytes, nbytes, first.device
            )
        )
        self.nbytes += -(-nbytes // ALIGNMENT) * ALIGNMENT

    @property
    def is_lent(self) -> bool:
        """Whether the parameters are views of a copy on a device."""
        return bool(self._lent)

    @torch.no_grad()
    @torch.inference_mode(False)
    def pack(self, memory: Tensor | None = None) -> None:
        """Move all tensors, one after the other.

        Args:
            memory: where to; fresh host memory by default.
        """
        self.host = host_memory(self.nbytes) if memory is None else memory
        for item in self.items:
            view = item.view(self.host, 0)
            view.copy_(item.holders[0].data)
            self._at_home.append(view)
            for holder in item.holders:
                holder.data = view

    @torch.no_grad()
    @torch.inference_mode(False)
    def unpack(self) -> None:
        """Give every tensor memory of its own, on the device on which it was.

        May be called again where it was broken off.
        """
        for place, (item, view) in enumerate(zip(self.items, self._at_home, strict=False)):
            held = [holder for holder in item.holders if holder.data_ptr() == view.data_ptr()]
            if held and place not in self._unpacked:
                values = torch.empty_strided(
                    item.shape, item.stride, dtype=item.dtype, device=item.home
                )
                self._unpacked[place] = values.copy_(view)
            for holder in held:
                holder.data = self._unpacked[place]
        self._at_home, self._lent, self._unpacked = [], [], {}
        self.host = torch.empty(0, dtype=torch.uint8)

    def rehome(self, device: torch.device) -> None:
        """Let this be the device to which `unpack` brings all tensors."""
        for item in self.items:
            item.home = device

    def views(self, memory: Tensor, start: int) -> Views:
        """The tensors in a copy of the pack that begins at byte `start` of `memory`."""
        return [item.view(memory, start) for item in self.items]

    def lend(self, views: Views) -> None:
        """Let the parameters be these; one that somebody has replaced stays as it is."""
        self._lent = []
        for item, view, home in zip(self.items, views, self._at_home, strict=True):
            self._lent.append(view.data_ptr())
            for holder in item.holders:
                if holder.data_ptr() == home.data_ptr():
                    holder.data = view

    def recall(self, *, firmly: bool = False) -> None:
        """Let the parameters be on the host again.

        Args:
            firmly: also those that were replaced meanwhile, as a layer may do while it computes.
        """
        # Fewer than all where lending was broken off; the others are at home.
        for item, address, home in zip(self.items, self._lent, self._at_home, strict=False):
            for holder in item.holders:
                if firmly or holder.data_ptr() == address:
                    holder.data = home
        self._lent = []

    @torch.no_grad()
    @torch.inference_mode(False)
    def take_over(self) -> bool:
        """Take values over where somebody has given a parameter other memory.

        Returns:
            Whether that could be done: not where shape, dtype or a tie have changed.
        """
        for item, home in zip(self.items, self._at_home, strict=True):
            address = home.data_ptr()
            changed = [holder for holder in item.holders if holder.data_ptr() != address]
            if any(h.dtype != item.dtype or h.shape != item.shape for h in item.holders):
                return False
            if changed and len(item.holders) > 1:
                return False
            for holder in changed:
                home.copy_(holder.data)
                holder.data = home
        return True


def host_memory(nbytes: int) -> Tensor:
    """Host memory that shares no page with anything else, `[nbytes]` of uint8."""
    if not nbytes:
        return torch.empty(0, dtype=torch.uint8)
    if sys.platform == "win32":
        return torch.frombuffer(mmap.mmap(-1, nbytes), dtype=torch.uint8)
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return torch.frombuffer(mmap.mmap(-1, nbytes, flags=private), dtype=torch.uint8)
