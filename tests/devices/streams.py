"""Streams whose work is done late, events, and who knows what of whom.

Every piece of work has a number in its stream. A stream knows (`seen`) up to which number the
others are done whenever its next piece begins: by events that it has waited for, and by what the
host has waited for. What a stream does not know may happen before or after, and a schedule decides.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock

import torch
from torch.utils._python_dispatch import _disable_current_modes

Seen = dict["LateStream", int]


@dataclass(eq=False)
class Work:
    """A piece of work in a stream.

    Attributes:
        number: in its stream, counted from 1.
        do: what it does; nothing where the stream only waits.
        needs: other streams, and the number up to which they are done before.
        host: address and end of host memory that it reads or writes, if any.
        what: a name.
    """

    number: int
    do: Callable[[], None] | None
    needs: tuple[tuple[LateStream, int], ...]
    host: tuple[int, int] | None
    what: str


class LateStream:
    """A stream of a card.

    Attributes:
        card: the number of the card.
        seen: of other streams, what is over when the next piece of work here begins.
        asked: number of the last piece that was asked for.
        done: number of the last one that is done.
    """

    def __init__(self, schedule: Schedule, card: int) -> None:
        self.schedule, self.card = schedule, card
        self.queue: deque[Work] = deque()
        self.seen: Seen = {}
        self.asked = self.done = 0
        schedule.streams.append(self)

    def learn(self, seen: Seen) -> None:
        """What is over for somebody else is over for this stream's next piece of work too."""
        for stream, number in seen.items():
            if stream is not self and self.seen.get(stream, 0) < number:
                self.seen[stream] = number

    def ask(
        self,
        do: Callable[[], None] | None,
        what: str,
        needs: tuple[tuple[LateStream, int], ...] = (),
        host: tuple[int, int] | None = None,
    ) -> Work:
        """Ask for a piece of work after all others of this stream; see `Work`."""
        self.asked += 1
        work = Work(self.asked, do, needs, host, what)
        self.queue.append(work)
        return work

    @property
    def is_ready(self) -> bool:
        """Whether its next piece of work may be done."""
        return bool(self.queue) and all(s.done >= n for s, n in self.queue[0].needs)

    @property
    def knowledge(self) -> Seen:
        """What is over once all is done that this stream was asked for."""
        return self.seen | {self: self.asked}


class Schedule:
    """When the work of all streams is done: as late as may be, or sooner at random.

    Args:
        seed: of the random order; with `None` all is done at once.

    Attributes:
        streams: all of them.
        host: what the host has waited for, and who is asked next knows it therefore.
        lock: held by whoever asks for work or waits.
        failure: what a piece of work has failed with.
        time: pieces of work that were done.
    """

    def __init__(self, seed: int | None) -> None:
        self.streams: list[LateStream] = []
        self.host: Seen = {}
        self.lock = RLock()
        self.failure: Exception | None = None
        self.time = 0
        self._random = random.Random(seed or 0)
        self._eagerness = 1.0 if seed is None else (0.0, 0.05, 0.5, 0.9)[seed % 4]
        self._most_waiting = 1 if seed is None else self._random.choice((64, 1024))
        self._favours_latest = self._random.random() < 0.5

    def go_on(self) -> None:
        """Do some of the work that may be done, which is up to chance."""
        while self._eagerness and self._random.random() < self._eagerness and self._do_any():
            pass
        for stream in self.streams:
            if len(stream.queue) >= self._most_waiting:
                self.finish(stream, stream.queue[-self._most_waiting].number)

    def look(self) -> None:
        """The host asks whether something is over: if it asks again and again, it is."""
        if self._random.random() < 0.5:
            self._do_any()

    def _do_any(self) -> bool:
        ready = [
            s for s in self.streams if s.queue and all(t.done >= n for t, n in s.queue[0].needs)
        ]
        if not ready:
            return False
        stream = ready[-1] if self._favours_latest else self._random.choice(ready)
        if self._random.random() < 0.2:
            stream = self._random.choice(ready)
        self._do(stream)
        return True

    def finish(self, stream: LateStream, number: int) -> None:
        """Do what of a stream and of those that it waits for has to be done up to `number`."""
        while stream.done < number:
            for other, needed in stream.queue[0].needs:
                self.finish(other, needed)
            self._do(stream)

    def finish_all(self) -> None:
        """Do all work."""
        for stream in self.streams:
            self.finish(stream, stream.asked)

    def wait(self, seen: Seen) -> None:
        """The host waits until this is over."""
        for stream, number in seen.items():
            self.finish(stream, number)
        self.note_waited(seen)

    def note_waited(self, seen: Seen) -> None:
        """The host knows that this is over."""
        for stream, number in seen.items():
            self.host[stream] = max(self.host.get(stream, 0), number)

    def waiting_with(self, start: int, stop: int) -> str | None:
        """The name of work that is not done and that uses host memory from `start` to `stop`."""
        for stream in self.streams:
            for work in stream.queue:
                if work.host is not None and work.host[0] < stop and start < work.host[1]:
                    return work.what
        return None

    def _do(self, stream: LateStream) -> None:
        work = stream.queue.popleft()
        stream.done = work.number
        self.time += 1
        if work.do is not None and self.failure is None:
            try:
                work.do()
            except Exception as error:
                self.failure = error


@contextmanager
def by_itself() -> Iterator[None]:
    """Within, no mode of torch sees what is computed, and no gradient is recorded."""
    with _disable_current_modes(), torch.no_grad():
        yield
