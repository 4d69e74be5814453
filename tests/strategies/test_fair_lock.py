"""A lock that goes round in the order of asking, and can be lent."""

from __future__ import annotations

import threading
import time

import pytest

from dpnb.strategies.fair_lock import FairLock

TIMEOUT = 30.0
"""Seconds after which a thread that should have come does not."""


@pytest.fixture
def lock() -> FairLock:
    return FairLock()


def wait_for_line(lock: FairLock, length: int) -> None:
    """Wait until so many threads wait for the lock."""
    deadline = time.monotonic() + TIMEOUT
    while len(lock._waiting) < length:
        assert time.monotonic() < deadline, "nobody waits for the lock"
        time.sleep(0.001)


def test_it_goes_round_in_the_order_of_asking(lock: FairLock) -> None:
    order: list[int] = []

    def take(number: int) -> None:
        with lock.hold():
            order.append(number)

    threads = []
    with lock.hold():
        for number in range(8):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            wait_for_line(lock, number + 1)
    for thread in threads:
        thread.join(TIMEOUT)
    assert order == list(range(8))


def test_what_is_lent_comes_back(lock: FairLock) -> None:
    taken = threading.Event()

    def take() -> None:
        with lock.hold():
            taken.set()

    with lock.hold(), lock.hold():
        thread = threading.Thread(target=take)
        thread.start()
        with lock.lend():
            assert taken.wait(TIMEOUT)
        assert lock.is_mine
    thread.join(TIMEOUT)
    assert not lock.is_mine
