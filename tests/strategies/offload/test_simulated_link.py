from __future__ import annotations

import gc
import threading
import time

import pytest
import torch

from dpnb.strategies.offload.link import Mark
from dpnb.strategies.offload.simulated_link import SimulatedLink

HANGING = 300
"""Seconds against a test that hangs."""


def workers() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name == "dpnb simulated link"}


class Gate(Mark):
    """A mark that is passed when a test says so."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def wait(self) -> None:
        """Until then."""
        assert self.opened.wait(HANGING)


def test_a_copy_arrives_in_the_time_of_its_bytes() -> None:
    """Who asks for one goes on at once."""
    link, gate = SimulatedLink(100e6), Gate()
    source = torch.arange(1_000_000, dtype=torch.uint8)
    targets = [link.allocate(1_000_000) for _ in range(3)]
    began = time.perf_counter()
    marks = [link.copy(target, source, gate, "x") for target in targets]
    assert not link.log
    gate.opened.set()
    marks[-1].wait()
    assert time.perf_counter() - began >= 0.03
    assert all(torch.equal(target, source) for target in targets)
    assert [(t.what, t.nbytes) for t in link.log] == [("x", 1_000_000)] * 3
    assert all(t.ended - t.began == pytest.approx(0.01) for t in link.log)
    assert all(a.ended <= b.began for a, b in zip(link.log, list(link.log)[1:], strict=False))
    assert link.moved == 3_000_000
    link.close()


def test_room_is_counted_as_long_as_it_lives() -> None:
    link = SimulatedLink(1e9)
    one, other = link.allocate(1000), link.allocate(500)
    view = one[10:20]
    assert (link.held, link.peak) == (1500, 1500)
    del one, other
    assert link.held == 1000
    del view
    assert (link.held, link.peak) == (0, 1500)
    link.close()


def test_a_copy_that_fails_says_so_to_whoever_waits_for_it() -> None:
    link = SimulatedLink(1e9)
    mark = link.copy(link.allocate(10), torch.zeros(20, dtype=torch.uint8), link.mark(), "x")
    with pytest.raises(RuntimeError):
        mark.wait()
    after = link.copy(link.allocate(10), torch.zeros(10, dtype=torch.uint8), link.mark(), "y")
    after.wait()
    link.close()


def test_closing_ends_the_thread_and_so_does_forgetting() -> None:
    before = workers()
    link = SimulatedLink(1e9)
    (worker,) = workers() - before
    link.close()
    link.close()
    assert not worker.is_alive()
    link = SimulatedLink(1e9)
    (worker,) = workers() - before
    del link
    gc.collect()
    worker.join(HANGING)
    assert not worker.is_alive()


def test_memory_made_in_inference_mode_may_be_written_outside() -> None:
    link = SimulatedLink(1e9)
    with torch.inference_mode():
        target = link.allocate(4)
        mark = link.copy(target, torch.ones(4, dtype=torch.uint8), link.mark(), "x")
    mark.wait()
    assert target.tolist() == [1, 1, 1, 1]
    link.close()
