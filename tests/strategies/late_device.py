"""A device of its own memory, on the CPU: what comes from the host comes as late as it may.

A copy is made when somebody waits for it and no sooner, and its target holds no numbers until then.
What a kernel computes is computed at once. Whoever reads too early, overwrites too early, or
computes with memory of the host is reported.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import finalize, ref

import pytest
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from dpnb.models.tiling import stores
from dpnb.strategies import placement
from dpnb.strategies.networks import Networks
from dpnb.strategies.offload.link import Link, Mark
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Strategy
from tests.devices.kernels import tensors_in

POISON = 0xFF
"""Fills memory without values: every floating-point number is NaN then."""

aten = torch.ops.aten

LOOKS_AT_NO_VALUE = {aten._has_compatible_shallow_copy_type.default, aten.is_same_size.default}


@dataclass(eq=False)
class Room:
    """Memory of the device that a link has made room for.

    Attributes:
        start: its address.
        made: operations of the device before it was there.
        read: address and end of what was read, and which operation did last.
        copies: first and last address and number of what was copied there.
    """

    start: int
    made: int
    read: dict[tuple[int, int], int] = field(default_factory=dict)
    copies: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Order:
    """A copy that is to be made into a storage that may be gone by then."""

    storage: ref[torch.UntypedStorage]
    offset: int
    source: Tensor
    what: str


@dataclass(frozen=True)
class Computed(Mark):
    """So many operations of the device are over."""

    count: int

    def wait(self) -> None:
        """Operations follow one another anyway."""


@dataclass(frozen=True, eq=False)
class Arrived(Mark):
    """So many copies of a link are over."""

    link: LateLink
    count: int

    def wait(self) -> None:
        """Have the copies made up to this one."""
        self.link.arrive(self.count)


class LateLink(Link):
    """The link to such a device.

    Attributes:
        operations: how many the device has computed.
        reports: what was done that a device would not forgive.
    """

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.operations = 0
        self.reports: list[str] = []
        self.copies = 0
        self._arrived = 0
        self._seen_by_copies = 0
        self._orders: list[Order] = []
        self._rooms: dict[int, Room] = {}
        self._host: dict[int, int] = {}
        self._host_starts: list[int] = []

    # --- what a link does ---

    def allocate(self, nbytes: int) -> Tensor:
        """There are no values yet."""
        with _disable_current_modes():
            room = super().allocate(nbytes)
            with torch.inference_mode(False):
                room.fill_(POISON)
            if nbytes:
                start = room.data_ptr()
                self._rooms[start] = Room(start, self.operations)
                finalize(room.untyped_storage(), self._give_back, start)
        return room

    def _copy(self, target: Tensor, source: Tensor, after: Mark, what: str) -> Mark:
        with _disable_current_modes():
            if isinstance(after, Computed):
                self._seen_by_copies = max(self._seen_by_copies, after.count)
            self.copies += 1
            if target.numel():
                self._claim(target, what)
            with torch.inference_mode(False):
                target.fill_(POISON)
            storage = target.untyped_storage()
            offset = target.data_ptr() - storage.data_ptr()
            self._orders.append(Order(ref(storage), offset, source, what))
        return Arrived(self, self.copies)

    def _claim(self, target: Tensor, what: str) -> None:
        room = self._rooms[target.untyped_storage().data_ptr()]
        start, stop = target.data_ptr(), target.data_ptr() + target.numel()
        last = [n for (a, b), n in room.read.items() if a < stop and start < b]
        if max(last, default=0) > self._seen_by_copies:
            self.reports.append(f"{what} may overwrite what is still being read")
        if room.made > self._seen_by_copies:
            self.reports.append(f"{what} may come before its room is free")
        room.copies = [c for c in room.copies if not (start <= c[0] and c[1] <= stop)]
        room.copies.append((start, stop, self.copies))

    def arrive(self, count: int) -> None:
        """Make all copies up to this one."""
        with _disable_current_modes(), torch.inference_mode(False), torch.no_grad():
            while self._arrived < count:
                self._arrived += 1
                order = self._orders.pop(0)
                storage = order.storage()
                if storage is None:
                    self.reports.append(f"{order.what} comes into memory that was given back")
                    continue
                memory = torch.empty(0, dtype=torch.uint8)
                memory.set_(storage, order.offset, order.source.shape, (1,))
                memory.copy_(order.source)

    def mark(self) -> Mark:
        return Computed(self.operations)

    def pin(self, memory: Tensor) -> None:
        self.pinned += memory.numel()
        self.keep_from_kernels(memory.data_ptr(), memory.numel())

    def unpin(self, memory: Tensor) -> None:
        self.pinned -= memory.numel()
        self.let_go(memory.data_ptr())

    def close(self) -> None:
        self.arrive(self.copies)

    def _give_back(self, start: int) -> None:
        room = self._rooms.pop(start)
        if any(number > self._arrived for _, _, number in room.copies):
            self.reports.append("memory is given back to which a copy may still come")

    # --- what kernels do ---

    def keep_from_kernels(self, start: int, nbytes: int) -> None:
        """This is memory of the host."""
        if nbytes:
            self._host[start] = start + nbytes
            self._host_starts = sorted(self._host)

    def let_go(self, start: int) -> None:
        """Memory of the host is no more."""
        self._host.pop(start, None)
        self._host_starts = sorted(self._host)

    def is_on_host(self, tensor: Tensor) -> bool:
        """Whether a tensor's memory is the host's."""
        address = tensor.untyped_storage().data_ptr()
        place = bisect_right(self._host_starts, address) - 1
        return place >= 0 and address < self._host[self._host_starts[place]]

    def compute(self, func: OpOverload, tensors: Sequence[Tensor]) -> None:
        """An operation of the device is asked for; a copy from the host is none of its own."""
        self.operations += 1
        on_host = [tensor for tensor in tensors if tensor.numel() and self.is_on_host(tensor)]
        if on_host and func is not aten.copy_.default:
            self.reports.append(f"{func} computes with {tuple(on_host[0].shape)} of the host")
        for tensor in tensors:
            room = self._rooms.get(tensor.untyped_storage().data_ptr())
            if room is not None and tensor.numel():
                self._read(func, tensor, room)

    def _read(self, func: OpOverload, tensor: Tensor, room: Room) -> None:
        length = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        start = tensor.data_ptr()
        stop = start + length * tensor.element_size()
        if any(a < stop and start < b and n > self._arrived for a, b, n in room.copies):
            self.reports.append(f"{func} reads {tuple(tensor.shape)} that may not have come")
        room.read[start, stop] = self.operations


class Kernels(TorchDispatchMode):
    """Within, every operation is one of the device."""

    def __init__(self, link: LateLink) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._link = link

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would hide every operation from its compiler, which takes longer than it does."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not func.is_view and func not in LOOKS_AT_NO_VALUE:
            self._link.compute(func, list(tensors_in((*args, *kwargs.values()))))
        return func(*args, **kwargs)


class Transfers(TorchFunctionMode):
    """Within, a tensor of the host that is sent to the device becomes another one."""

    def __init__(self, link: LateLink) -> None:
        super().__init__()
        self._link = link

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        is_sent = func is Tensor.to and self._link.device in args and self._link.is_on_host(args[0])
        if not is_sent:
            return func(*args, **(kwargs or {}))
        with _disable_current_modes(), torch.inference_mode(False):
            return args[0].clone()


class LateDevice:
    """Such a device in place of any that is asked for.

    Attributes:
        link: the link to it.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.link = LateLink()
        self._away: list[Tensor] = []
        self._visitors: set[int] = set()
        file = stores._map_file
        patch.setattr(placement, "open_link", lambda _: self.link)
        patch.setattr(stores, "_map_file", lambda nbytes: self._spill(file(nbytes)))

    @contextmanager
    def computing(self, networks: Networks) -> Iterator[LateLink]:
        """Within, the networks of `networks` compute on the device."""
        self._look_at(networks)
        with Transfers(self.link), Kernels(self.link):
            yield self.link

    def switch(self, strategies: StrategyStack, plan: Sequence[Strategy]) -> None:
        """Make exactly `plan` active, which is no work of the device."""
        with _disable_current_modes():
            strategies.use(plan)
        self._look_at(strategies.networks)

    def _look_at(self, networks: Networks) -> None:
        visitors = [tensor for group in networks.hosted for tensor in group.original_devices]
        for tensor in (*self._away, *visitors):
            self.link.keep_from_kernels(tensor.data_ptr(), tensor.nbytes)
        for address in self._visitors - {tensor.data_ptr() for tensor in visitors}:
            self.link.let_go(address)
        self._visitors = {tensor.data_ptr() for tensor in visitors}

    def set_aside(self, values: Tensor) -> Callable[[], Tensor]:
        """For `Networks.set_aside`: values wait in memory of the host."""
        waiting = values.clone()
        self._away.append(waiting)

        def bring() -> Tensor:
            self._away[:] = [tensor for tensor in self._away if tensor is not waiting]
            self.link.let_go(waiting.data_ptr())
            return waiting

        return bring

    def _spill(self, room: stores.Bytes) -> stores.Bytes:
        self.link.keep_from_kernels(room.ctypes.data, room.nbytes)
        finalize(room, self.link.let_go, room.ctypes.data)
        return room
