"""What `torch.cuda` and `torch.accelerator` are called by, over late cards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

from tests.devices.cards import PRESENT, LateCards, Registered
from tests.devices.guards import guarded
from tests.devices.kernels import registered
from tests.devices.streams import LateStream, Seen, by_itself

Place: TypeAlias = "torch.device | str | int | None"

INVALID, OUT_OF_MEMORY, ALREADY_PINNED, NOT_PINNED = 1, 2, 712, 713
"""Numbers of CUDA's errors."""


def _index(cards: LateCards, place: Place) -> int:
    if isinstance(place, int):
        return place
    if place is None or (device := torch.device(place)).index is None:
        return cards.present.card
    return device.index


class Stream:
    """As `torch.cuda.Stream`."""

    def __init__(self, device: Place = None, priority: int = 0) -> None:
        cards = PRESENT.the_cards()
        self.late = LateStream(cards.schedule, _index(cards, device))

    @classmethod
    def of(cls, late: LateStream) -> Stream:
        """The face of a stream."""
        made = cls.__new__(cls)
        made.late = late
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.late is self.late

    def __hash__(self) -> int:
        return hash(self.late)

    @property
    def device(self) -> torch.device:
        """Its card."""
        return torch.device("cuda", self.late.card)

    def synchronize(self) -> None:
        """Wait for all of its work."""
        cards = PRESENT.the_cards()
        with self.late.schedule.lock, by_itself():
            cards.bury()
            cards.wait(self.late, "Stream.synchronize")

    def query(self) -> bool:
        """Whether all of its work is done."""
        with self.late.schedule.lock, by_itself():
            self.late.schedule.look()
            return not self.late.queue

    def wait_event(self, event: Event) -> None:
        """Whatever is asked of it next begins after the event."""
        event.wait(self)

    def wait_stream(self, other: Stream) -> None:
        """Whatever is asked of it next begins after all that the other was asked for."""
        event = Event()
        event.record(other)
        event.wait(self)

    def record_event(self, event: Event | None = None) -> Event:
        """An event after all that it was asked for."""
        event = event or Event()
        event.record(self)
        return event


class Event:
    """As `torch.cuda.Event`."""

    def __init__(self, enable_timing: bool = False, **_: Any) -> None:
        self.is_timed = enable_timing
        self.stream: LateStream | None = None
        self.number = 0
        self.seen: Seen = {}
        self.time: list[int] = []

    def record(self, stream: Stream | None = None) -> None:
        """It is after all that the stream was asked for so far."""
        cards = PRESENT.the_cards()
        late = (stream or current_stream()).late
        with late.schedule.lock, by_itself():
            if self.stream is not None and self.stream.card != late.card:
                raise RuntimeError(
                    f"Event device {self.stream.card} does not match recording stream's device "
                    f"{late.card}."
                )
            cards.bury()
            late.learn(late.schedule.host)
            self.time = times = []
            work = late.ask(lambda: times.append(late.schedule.time), "an event")
            self.stream, self.number, self.seen = late, work.number, late.knowledge
            late.schedule.go_on()

    def wait(self, stream: Stream | None = None) -> None:
        """Whatever is asked of the stream next begins after this."""
        cards = PRESENT.the_cards()
        late = (stream or current_stream()).late
        with late.schedule.lock, by_itself():
            cards.bury()
            if self.stream is None or self.stream is late:
                return
            late.ask(None, "a wait", ((self.stream, self.number),))
            late.learn(self.seen)
            late.schedule.go_on()

    def synchronize(self) -> None:
        """Wait for it."""
        if self.stream is None:
            return
        cards = PRESENT.the_cards()
        with self.stream.schedule.lock, by_itself():
            cards.bury()
            cards.note_wait("Event.synchronize")
            self.stream.schedule.wait(self.seen)
            cards.raise_failure()

    def query(self) -> bool:
        """Whether it is over."""
        if self.stream is None:
            return True
        with self.stream.schedule.lock, by_itself():
            self.stream.schedule.look()
            is_over = self.stream.done >= self.number
            if is_over:
                self.stream.schedule.note_waited(self.seen)
        return is_over

    def elapsed_time(self, other: Event) -> float:
        """Milliseconds between both: as many as pieces of work."""
        if not (self.is_timed and other.is_timed and self.time and other.time):
            raise RuntimeError("both events must be timed, and over.")
        return float(other.time[0] - self.time[0])


def current_stream(device: Place = None) -> Stream:
    """This thread's present stream of a card."""
    cards = PRESENT.the_cards()
    return Stream.of(cards.stream_of(_index(cards, device)))


def default_stream(device: Place = None) -> Stream:
    """The stream that every thread begins with."""
    cards = PRESENT.the_cards()
    return Stream.of(cards.default_stream(_index(cards, device)))


def set_stream(stream: Stream) -> None:
    """Another stream, and its card, for this thread."""
    present = PRESENT.the_cards().present
    present.streams[stream.late.card] = stream.late
    present.card = stream.late.card


@contextmanager
def stream_within(stream: Stream | None) -> Iterator[None]:
    """Another stream, and its card, for this thread within."""
    if stream is None:
        yield
        return
    present, card = PRESENT.the_cards().present, stream.late.card
    before = present.card, current_stream(card)
    set_stream(stream)
    try:
        yield
    finally:
        present.streams[card] = before[1].late
        present.card = before[0]


@contextmanager
def device_within(device: Place) -> Iterator[None]:
    """Another card for this thread within."""
    cards = PRESENT.the_cards()
    before, cards.present.card = cards.present.card, _index(cards, device)
    try:
        yield
    finally:
        cards.present.card = before


class Runtime:
    """As `torch.cuda.cudart()`: numbers of errors, which stay until a kernel is launched."""

    def cudaHostRegister(self, start: int, nbytes: int, flags: int) -> int:  # noqa: N802
        """Pin host memory."""
        cards = PRESENT.the_cards()
        known = cards.pinned.items()
        if any(a < start + nbytes and start < one.stop for a, one in known):
            return self._fail(cards, ALREADY_PINNED)
        held = sum(one.stop - a for a, one in known)
        if held + nbytes > cards.most_pinned:
            return self._fail(cards, OUT_OF_MEMORY)
        cards.pinned[start] = Registered(start + nbytes, by_torch=False)
        return 0

    def cudaHostUnregister(self, start: int) -> int:  # noqa: N802
        """Let it go."""
        cards = PRESENT.the_cards()
        one = cards.pinned.get(start)
        if one is None or one.by_torch:
            return self._fail(cards, NOT_PINNED)
        with cards.schedule.lock:
            pending = cards.schedule.waiting_with(start, one.stop)
            if pending is not None:
                cards.report(f"host memory is let go while {pending} still uses it")
        del cards.pinned[start]
        return 0

    def _fail(self, cards: LateCards, number: int) -> int:
        cards.present.error = number
        return number


def synchronize(device: Place = None) -> None:
    """Wait for a card."""
    cards = PRESENT.the_cards()
    index = _index(cards, device)
    with cards.schedule.lock, by_itself():
        cards.bury()
        cards.note_wait("synchronize")
        for stream in cards.schedule.streams:
            if stream.card == index:
                cards.schedule.wait(stream.knowledge)
        cards.raise_failure()


def _empty_cache() -> None:
    cards = PRESENT.the_cards()
    with cards.schedule.lock, by_itself():
        cards.empty_cache()


def _memory_stats(device: Place = None) -> dict[str, Any]:
    cards = PRESENT.the_cards()
    with cards.schedule.lock, by_itself():
        cards.bury()
        books = cards.books[_index(cards, device)]
        return {
            "allocated_bytes": {"all": {"current": books.current, "peak": books.peak}},
            "reserved_bytes": {"all": {"current": books.reserved}},
            "inactive_split_bytes": {"all": {"current": 0}},
        }


def _reset_peak(device: Place = None) -> None:
    cards = PRESENT.the_cards()
    with cards.schedule.lock, by_itself():
        cards.bury()
        books = cards.books[_index(cards, device)]
        books.peak = books.current


def _mem_get_info(device: Place = None) -> tuple[int, int]:
    cards = PRESENT.the_cards()
    return cards.capacity - cards.books[_index(cards, device)].reserved, cards.capacity


def _set_device(device: Place) -> None:
    cards = PRESENT.the_cards()
    cards.present.card = _index(cards, device)


def _with_index(value: Any) -> Any:
    """`"cuda"` with the number of the present card: torch's own guard of CUDA is not built in."""
    is_bare = isinstance(value, (str, torch.device)) and str(value) == "cuda"
    return torch.device("cuda", PRESENT.the_cards().present.card) if is_bare else value


def _pinning(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that makes tensors of the host, which torch's own cannot pin here."""

    def call(*args: Any, pin_memory: bool = False, **kwargs: Any) -> Tensor:
        made = make(*args, **kwargs)
        return PRESENT.the_cards().pin(made) if pin_memory else made

    return call


def _moving(to: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return to(tensor, *map(_with_index, args), **{k: _with_index(v) for k, v in kwargs.items()})

    return call


def _by_copying(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function whose numbers come from the host."""

    def call(*args: Any, device: Place = None, **kwargs: Any) -> Tensor:
        made = make(*args, **kwargs)
        return made if device is None else made.to(device)

    return call


@contextmanager
def late_cards(cards: LateCards) -> Iterator[LateCards]:
    """Within, `cards` are the CUDA devices that torch finds."""
    names: dict[str, Any] = {
        "Stream": Stream,
        "Event": Event,
        "current_stream": current_stream,
        "default_stream": default_stream,
        "set_stream": set_stream,
        "stream": stream_within,
        "device": device_within,
        "set_device": _set_device,
        "current_device": lambda: cards.present.card,
        "device_count": lambda: cards.count,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "init": lambda: None,
        "_lazy_init": lambda: None,
        "is_bf16_supported": lambda including_emulation=True: True,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_name": lambda device=None: "a late card",
        "get_device_properties": lambda device=None: SimpleNamespace(
            total_memory=cards.capacity, name="a late card", major=9, minor=0
        ),
        "cudart": Runtime,
        "synchronize": synchronize,
        "empty_cache": _empty_cache,
        "memory_stats_as_nested_dict": _memory_stats,
        "reset_peak_memory_stats": _reset_peak,
        "mem_get_info": _mem_get_info,
    }
    with pytest.MonkeyPatch.context() as patch, registered(), guarded():
        for name, value in names.items():
            patch.setattr(torch.cuda, name, value)
        for name, value in {
            "is_available": lambda: True,
            "current_accelerator": lambda *_, **__: torch.device("cuda"),
            "device_count": lambda: cards.count,
            "current_device_index": lambda: cards.present.card,
            "synchronize": synchronize,
        }.items():
            patch.setattr(torch.accelerator, name, value)
        patch.setattr(Tensor, "to", _moving(Tensor.to))
        for name in ("empty", "randn"):
            patch.setattr(torch, name, _pinning(getattr(torch, name)))
        for name in ("tensor", "as_tensor"):
            patch.setattr(torch, name, _by_copying(getattr(torch, name)))
        patch.setattr(Tensor, "pin_memory", lambda tensor: cards.pin(tensor.clone()))
        patch.setattr(Tensor, "is_pinned", lambda tensor: cards.is_pinned(tensor))
        patch.setattr(PRESENT, "cards", cards)
        try:
            yield cards
        finally:
            with by_itself():
                cards.schedule.finish_all()
