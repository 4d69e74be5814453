"""A reading of a meter."""

from __future__ import annotations

from dataclasses import dataclass

from dpnb.errors import DpnbError


@dataclass(frozen=True)
class Reading:
    """Memory at one moment, in bytes.

    Args:
        time: seconds of `time.perf_counter`; in a trace, since the trace began.
        current: in use now.
        peak: the most that was in use since the peak was last reset.
        reserved: held by the allocator, whether in use or not.
        fragmented: reserved and unused, in pieces that cannot be handed back.
        free: what could still be had.
        limit: all that there is.
        others: in use by other programs, and by this one outside what the meter counts.
        weights: of what is in use, those of networks, where the meter tells them apart.
        process: resident bytes of the whole process, where the meter counts less.
    """

    time: float
    current: int
    peak: int
    reserved: int | None = None
    fragmented: int | None = None
    free: int | None = None
    limit: int | None = None
    others: int | None = None
    weights: int | None = None
    process: int | None = None


class MeterError(DpnbError, RuntimeError):
    """What was to be measured is not there; the message says what to use instead."""
