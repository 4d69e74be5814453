"""The meter that panels count with where no allocator keeps the books: weights, and what runs make.

Counting every operation takes time. Runs of the same form with the same switches need the same
memory, so only the first of them is counted, and later ones tell what it has needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from typing_extensions import Self

from dpnb.metering.meter import Meter
from dpnb.metering.reading import Reading
from dpnb.metering.tensors import TensorMeter

MOST_FORMS = 64
"""Forms of runs whose counts are kept."""

LOOK_EVERY = 0.1
"""Seconds between two looks at the whole process, each of which takes as long as some layers."""


@dataclass(frozen=True)
class Count:
    """What a step has needed, beside weights.

    Args:
        current: bytes at its end.
        peak: the most bytes.
    """

    current: int = 0
    peak: int = 0


@dataclass
class KnownCounts:
    """What the steps of runs need, by the form of a run; the oldest is forgotten first."""

    by_form: dict[Hashable, tuple[Count, ...]] = field(default_factory=dict)

    def get(self, form: Hashable | None) -> tuple[Count, ...] | None:
        """The counts of a run's steps; `None` where no such run has been counted."""
        return None if form is None else self.by_form.get(form)

    def keep(self, form: Hashable, counts: tuple[Count, ...]) -> None:
        """Remember what the steps of a run have needed."""
        self.by_form.pop(form, None)
        while len(self.by_form) >= MOST_FORMS:
            self.by_form.pop(next(iter(self.by_form)))
        self.by_form[form] = counts


class WeighedMeter:
    """Another meter, whose readings also say how much of it all is weights.

    Args:
        meter: the other one.
        weigh: the bytes of weights on the device between two steps.
    """

    def __init__(self, meter: Meter, weigh: Callable[[], int]) -> None:
        self._meter, self._weigh, self._weights = meter, weigh, weigh()
        self.name, self.label = meter.name, meter.label

    def note_change(self) -> None:
        """Something has been switched: weigh anew."""
        self._weights = self._weigh()

    def keep(self) -> None:
        """Nothing is kept: every run is read."""

    def read(self) -> Reading:
        """Memory now."""
        return replace(self._meter.read(), weights=self._weights)

    def reset_peak(self) -> None:
        """Let the peak of later readings count from now on."""
        self._meter.reset_peak()

    def __enter__(self) -> Self:
        self._meter.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._meter.__exit__(*error)


class LiveMeter:
    """Counts the weights on the device and the tensors that one run makes.

    It is entered around each step of the run. Where the counts of such a run are known already,
    nothing is counted, until `note_change` says that this run goes another way.

    Args:
        weigh: the bytes of weights on the device between two steps.
        form: under which the run is alike to others; `None` where nobody knows.
        known: what former runs have needed.
        machine: reads what the process has, and what there is, beside; not more often than every
            tenth of a second.
        weights: what `weigh` says now, where that is known.
    """

    name: ClassVar = "live"
    label: ClassVar = "weights, and what the run makes"

    def __init__(
        self,
        weigh: Callable[[], int],
        form: Hashable | None,
        known: KnownCounts,
        machine: Callable[[], Reading] | None = None,
        weights: int | None = None,
    ) -> None:
        self._weigh, self._form, self._store, self._machine = weigh, form, known, machine
        self._weights = weigh() if weights is None else weights
        self._beside: Reading | None = None
        self._known = known.get(form)
        self._tensors = TensorMeter()
        self._counts: list[Count] = []
        self._unseen = 0
        self._entered: ExitStack | None = None

    @property
    def is_counting(self) -> bool:
        """Whether the operations of the next step are counted."""
        return self._known is None

    def note_change(self) -> None:
        """The run has changed its way: count from the next step on, and weigh anew."""
        self._weights, self._form = self._weigh(), None
        if self._known is not None:
            self._unseen = self._last.current
            self._known = None

    def keep(self) -> None:
        """The run is over as it had to be: let others of its form have its counts."""
        if self._form is not None and self._known is None:
            self._store.keep(self._form, tuple(self._counts))

    def read(self) -> Reading:
        """Memory now; within a step that is not counted, that of its end."""
        count = self._present()
        beside = self._look_beside()
        reading = Reading(
            time=time.perf_counter(),
            current=self._weights + count.current,
            peak=self._weights + count.peak,
            weights=self._weights,
        )
        if beside is None:
            return reading
        return replace(
            reading,
            process=beside.current,
            free=beside.free,
            limit=beside.limit,
            others=beside.others,
        )

    def _look_beside(self) -> Reading | None:
        known = self._beside
        if self._machine is None or (known and time.perf_counter() < known.time + LOOK_EVERY):
            return known
        self._beside = self._machine()
        return self._beside

    def reset_peak(self) -> None:
        """Let the peak of later readings count from now on."""
        self._tensors.reset_peak()

    def __enter__(self) -> Self:
        self._entered = ExitStack()
        if self._known is None:
            self._entered.enter_context(self._tensors)
        return self

    def __exit__(self, *error: object) -> None:
        if self._entered is not None:
            self._counts.append(self._present())
            self._entered.close()
            self._entered = None

    @property
    def _last(self) -> Count:
        return self._counts[-1] if self._counts else Count()

    def _present(self) -> Count:
        """What is needed in the present step, or was at the end of the last one."""
        if self._known is not None:
            place = len(self._counts) - (self._entered is None)
            return self._known[min(place, len(self._known) - 1)] if place >= 0 else Count()
        now = self._tensors.read()
        return Count(now.current + self._unseen, now.peak + self._unseen)
