"""A body that only trickles is told of, and given up in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from dpnb.errors import HubError
from dpnb.loading.hub.response_body import PATIENCE, SLOWEST, WINDOW_S, GuardedBody

ADDRESS = "http://hub.invalid/file"


def clock(seconds: float) -> Callable[[], float]:
    """A clock that goes on by so much whenever it is looked at."""
    times: Iterator[float] = (count * seconds for count in range(10**9))
    return lambda: next(times)


def test_a_body_comes_through_as_it_is() -> None:
    chunks = [b"a", b"", b"bc" * 1000]
    assert list(GuardedBody(chunks, ADDRESS)) == chunks


def test_a_trickle_is_told_of_and_given_up(caplog: pytest.LogCaptureFixture) -> None:
    came: list[bytes] = []
    with pytest.raises(HubError, match=f"{ADDRESS} has sent no more than 0 B a second for more"):
        came += GuardedBody([b"a"] * 1000, ADDRESS, clock=clock(WINDOW_S / 2))
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{ADDRESS} sends only 0 B a second; still waiting."] * PATIENCE


def test_a_slow_line_that_gets_faster_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    slow, fast = [b"a"] * PATIENCE, [b"a" * SLOWEST * 2 * WINDOW_S]
    chunks = (slow + fast) * 5
    assert list(GuardedBody(chunks, ADDRESS, clock=clock(WINDOW_S))) == chunks
    assert caplog.records


def test_a_fast_line_is_never_told_of(caplog: pytest.LogCaptureFixture) -> None:
    list(GuardedBody([b"a" * SLOWEST * 10] * 100, ADDRESS, clock=clock(1.0)))
    assert not caplog.records


def test_a_body_that_does_not_end_is_given_up() -> None:
    endless = iter(lambda: b"a" * 1000, b"")
    with pytest.raises(HubError, match=r"sends more than 1\.00 MiB where a list"):
        list(GuardedBody(endless, ADDRESS, 1 << 20))
