"""The body of an HTTP response: one that comes too slowly is reported, and given up in the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dpnb.errors import HubError
from dpnb.loading.hub.http_client import http_client
from dpnb.units import format_bytes

logger = logging.getLogger(__name__)

SLOWEST = 1024
"""Bytes a second."""

WINDOW_S = 10
"""A body's speed is that of so many seconds."""

PATIENCE = 6
"""So many windows in a row may be slower."""


class GuardedBody:
    """A body's bytes as they come, checked for their number and speed.

    Args:
        chunks: of the body.
        address: that it comes from, for messages.
        limit: bytes that it may have.
        clock: gives seconds.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        address: str,
        limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chunks, self._address, self._limit, self._clock = chunks, address, limit, clock

    def __iter__(self) -> Iterator[bytes]:
        began, count, slow, total = self._clock(), 0, 0, 0
        for chunk in self._chunks:
            count, total = count + len(chunk), total + len(chunk)
            if self._limit is not None and total > self._limit:
                raise HubError(
                    f"{self._address} sends more than {format_bytes(self._limit)} where a list or "
                    "an error is due; check mirror=, HF_ENDPOINT and proxies=."
                )
            seconds = self._clock() - began
            if seconds >= WINDOW_S:
                slow = slow + int(seconds // WINDOW_S) if count < SLOWEST * seconds else 0
                self._report_speed(count, seconds, slow)
                began, count = self._clock(), 0
            yield chunk

    def _report_speed(self, count: int, seconds: float, slow: int) -> None:
        speed = format_bytes(int(count / seconds))
        if slow > PATIENCE:
            raise HubError(
                f"{self._address} has sent no more than {speed} a second for more than "
                f"{PATIENCE * WINDOW_S} s; try again, or give another mirror=."
            )
        if slow:
            logger.warning("%s sends only %s a second; still waiting.", self._address, speed)


def guard_body(response: Any, address: str, limit: int | None) -> None:
    """Check the body of an HTTP client's response as it is read; see `GuardedBody`."""
    base = http_client().SyncByteStream
    stream = response.stream
    kind: Any = type("GuardedStream", (GuardedBody, base), {"close": lambda self: stream.close()})
    response.stream = kind(stream, address, limit)
