"""Cards whose memory is that of the host, and what a program does to them that it should not."""

from __future__ import annotations

import traceback
from collections import defaultdict, deque
from dataclasses import dataclass
from functools import partial
from threading import local
from weakref import finalize

import torch
from torch import Tensor

from tests.devices.blocks import PAGE, POISON, Block, extent
from tests.devices.streams import LateStream, Schedule, Work

OWN = ("/tests/devices/", "/torch/")
FRAMES = 4


@dataclass(frozen=True)
class Wait:
    """The host has waited for a card.

    Attributes:
        why: what for.
        nbytes: that were copied.
        where: the innermost lines of dpnb that asked for it.
    """

    why: str
    nbytes: int
    where: tuple[str, ...]


@dataclass
class Books:
    """What torch's allocator counts on a card, in bytes."""

    current: int = 0
    peak: int = 0
    reserved: int = 0


class OfThread(local):
    """What CUDA keeps by thread: the present card, its streams, and the error of the last call."""

    def __init__(self) -> None:
        self.card = 0
        self.streams: dict[int, LateStream] = {}
        self.error = 0


@dataclass(eq=False)
class Registered:
    """Pinned host memory."""

    stop: int
    by_torch: bool


@dataclass(eq=False)
class Access:
    """What work reads or writes in a block."""

    block: Block
    start: int
    stop: int
    writes: bool


class LateCards:
    """Cards, their streams and memory.

    Args:
        seed: of the schedule; with `None` all is done as soon as it is asked for.
        count: of cards.
        capacity: bytes of each.
        most_pinned: bytes of host memory that may be registered.

    Attributes:
        reports: what was done that a card would not forgive, in the order of asking.
        waits: when the host has waited.
        launches: kernels that were asked for.
        most_reserved: the most bytes that a card has given.
        present: what is kept by thread.
    """

    def __init__(
        self,
        seed: int | None = None,
        count: int = 1,
        capacity: int = 8 << 30,
        most_pinned: int = 1 << 40,
    ) -> None:
        self.schedule = Schedule(seed)
        self.count, self.capacity, self.most_pinned = count, capacity, most_pinned
        self.reports: list[str] = []
        self.waits: list[Wait] = []
        self.launches = self.most_reserved = 0
        self.present = OfThread()
        self.books = [Books() for _ in range(count)]
        self.pinned: dict[int, Registered] = {}
        self._defaults = [LateStream(self.schedule, card) for card in range(count)]
        self._blocks: dict[int, Block] = {}
        self._unused: dict[tuple[LateStream, int], list[Block]] = defaultdict(list)
        self._dead: deque[Block] = deque()

    # --- the present card and stream ---

    def stream_of(self, card: int) -> LateStream:
        """This thread's present stream of a card."""
        return self.present.streams.get(card, self._defaults[card])

    def default_stream(self, card: int) -> LateStream:
        """The stream that every thread begins with."""
        return self._defaults[card]

    # --- memory ---

    def allocate(
        self, shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, card: int
    ) -> Tensor:
        """A tensor on a card, in memory that nobody has on the present stream."""
        self.bury()
        nbytes = extent(shape, stride) * dtype.itemsize
        size = max(-(-nbytes // PAGE), 1) * PAGE
        stream, books = self.stream_of(card), self.books[card]
        unused = self._unused[stream, size]
        if not unused and books.reserved + size > self.capacity:
            self.empty_cache()
            if books.reserved + size > self.capacity:
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {size} bytes. GPU {card} has a total "
                    f"capacity of {self.capacity} bytes."
                )
        if unused:
            block = unused.pop()
        else:
            block = Block(size, card, stream)
            self._blocks[block.start] = block
            books.reserved += size
            self.most_reserved = max(self.most_reserved, books.reserved)
        books.current += size
        books.peak = max(books.peak, books.current)
        return block.birth(shape, stride, dtype, nbytes, self._dead.append)

    def bury(self) -> None:
        """Blocks whose tensors are gone may be handed out again, on the stream of their own."""
        while self._dead:
            block = self._dead.popleft()
            memory = block.bytes
            self.books[block.card].current -= block.nbytes
            everything = Access(block, 0, block.nbytes, writes=True)
            work = block.stream.ask(partial(_poison, memory), "the allocator")
            self.check(block.stream, work, [everything], "memory is given back to which")
            block.uses = {block.stream: {(0, block.nbytes, True): (work.number, work.what)}}
            self._unused[block.stream, block.nbytes].append(block)

    def empty_cache(self) -> None:
        """Unused memory goes back to the cards, which waits for them."""
        self.bury()
        self.schedule.finish_all()
        for blocks in self._unused.values():
            for block in blocks:
                self._blocks.pop(block.start)
                self.books[block.card].reserved -= block.nbytes
            blocks.clear()

    def block_of(self, tensor: Tensor) -> Block | None:
        """The block that holds a tensor of a card; `None` where it has no elements."""
        if not tensor.numel():
            return None
        first = tensor.data_ptr() - int(tensor.storage_offset()) * tensor.itemsize
        return self._blocks[first]

    def alias(self, tensor: Tensor) -> Tensor:
        """The same bytes on the CPU."""
        block = self.block_of(tensor)
        return (
            torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
            if block is None
            else block.alias(tensor)
        )

    def access(self, tensor: Tensor, *, writes: bool) -> list[Access]:
        """What work does that reads or writes a tensor of a card."""
        block = self.block_of(tensor)
        if block is None:
            return []
        start = int(tensor.storage_offset()) * tensor.itemsize
        length = extent(tensor.shape, tensor.stride()) * tensor.itemsize
        return [Access(block, start, start + length, writes)]

    def check(self, stream: LateStream, work: Work, accesses: list[Access], how: str = "") -> None:
        """Report what this work meets that may happen before or after it, and note the work."""
        for access in accesses:
            for other, uses in access.block.uses.items():
                if other is not stream:
                    self._compare(stream.seen.get(other, 0), uses, access, work, how)
            mine = access.block.uses.setdefault(stream, {})
            if len(mine) > 64 and access.writes:
                for key in [k for k in mine if access.start <= k[0] and k[1] <= access.stop]:
                    del mine[key]
            mine[access.start, access.stop, access.writes] = work.number, work.what

    def _compare(
        self,
        known: int,
        uses: dict[tuple[int, int, bool], tuple[int, str]],
        access: Access,
        work: Work,
        how: str,
    ) -> None:
        for (start, stop, wrote), (number, what) in uses.items():
            meets = start < access.stop and access.start < stop and (wrote or access.writes)
            if meets and number > known:
                doing = f"may still {'come' if wrote else 'read'}"
                if how:
                    self.report(f"{how} {what} {doing}")
                elif not access.writes:
                    self.report(f"{work.what} reads what may not have come by {what}")
                else:
                    self.report(f"{work.what} writes where {what} {doing}")
                return

    def report(self, what: str) -> None:
        """A card would not forgive this."""
        self.reports.append(what)

    # --- pinned memory ---

    def pin(self, memory: Tensor) -> Tensor:
        """The same tensor, in memory that torch has pinned."""
        storage = memory.untyped_storage()
        start = storage.data_ptr()
        if start:
            self.pinned[start] = Registered(start + storage.nbytes(), by_torch=True)
            finalize(storage, self.pinned.pop, start, None)
        return memory

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether the memory of a tensor of the host is pinned, all of it."""
        first = tensor.data_ptr()
        last = first + extent(tensor.shape, tensor.stride()) * tensor.itemsize
        return any(start <= first and last <= one.stop for start, one in self.pinned.items())

    # --- what the host does ---

    def launch(self) -> None:
        """A kernel is launched: an error that nobody has read comes to light."""
        self.launches += 1
        error, self.present.error = self.present.error, 0
        if error:
            raise torch.AcceleratorError(
                f"CUDA error {error}, of an earlier call that nobody has asked about."
            )
        self.raise_failure()

    def raise_failure(self) -> None:
        """What a kernel has failed with comes to light in any later call."""
        if self.schedule.failure is not None:
            raise torch.AcceleratorError(f"CUDA error: {self.schedule.failure}")

    def wait(self, stream: LateStream, why: str, nbytes: int = 0) -> None:
        """The host waits for a stream, which is noted."""
        self.note_wait(why, nbytes)
        self.schedule.wait(stream.knowledge)
        self.raise_failure()

    def note_wait(self, why: str, nbytes: int = 0) -> None:
        """The host waits for something."""
        frames = [f for f in traceback.extract_stack() if not any(o in f.filename for o in OWN)]
        where = tuple(f"{f.filename.rpartition('dpnb/')[2]}:{f.lineno}" for f in frames[-FRAMES:])
        self.waits.append(Wait(why, nbytes, where))


def _poison(memory: Tensor) -> None:
    memory.fill_(POISON)


@dataclass
class Present:
    """The cards that are there; none outside of a test."""

    cards: LateCards | None = None

    def the_cards(self) -> LateCards:
        """Those.

        Raises:
            RuntimeError: there are none.
        """
        if self.cards is None:
            raise RuntimeError("there is no CUDA device any more; the test is over.")
        return self.cards


PRESENT = Present()
