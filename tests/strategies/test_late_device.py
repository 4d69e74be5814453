"""The device that other tests rely on reports what a real one would not forgive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.strategies.late_device import Kernels, LateLink

X = torch.arange(1.0, 17.0)


def raw(tensor: Tensor) -> Tensor:
    return tensor.view(torch.uint8)


@pytest.fixture
def link() -> LateLink:
    return LateLink()


@pytest.fixture
def host(link: LateLink) -> Iterator[Tensor]:
    """Values on the host."""
    memory = X.clone()
    link.pin(raw(memory))
    yield memory
    link.unpin(raw(memory))


def test_what_is_waited_for_is_there(link: LateLink, host: Tensor) -> None:
    room = link.allocate(raw(X).numel())
    arrival = link.copy(room, raw(host), link.mark(), "x")
    with Kernels(link):
        arrival.wait()
        assert torch.equal(room.view(torch.float32) * 2, X * 2)
    assert link.reports == []


def test_who_does_not_wait_reads_no_numbers(link: LateLink, host: Tensor) -> None:
    room = link.allocate(raw(X).numel())
    first = link.copy(room[:32], raw(host)[:32], link.mark(), "x")
    link.copy(room[32:], raw(host)[32:], link.mark(), "y")
    with Kernels(link):
        first.wait()
        doubled = room.view(torch.float32) * 2
    assert torch.equal(doubled[:8], X[:8] * 2)
    assert doubled[8:].isnan().all()
    assert link.reports == ["aten.mul.Tensor reads (16,) that may not have come"]


def test_who_computes_on_the_host_is_reported(link: LateLink, host: Tensor) -> None:
    with Kernels(link):
        host[2:4].view(1, 2) * 2
        torch.empty(16).copy_(host)
    assert link.reports == ["aten.mul.Tensor computes with (1, 2) of the host"]


@pytest.mark.parametrize("marks_after", [False, True])
def test_what_is_still_read_is_not_written_to(
    link: LateLink, host: Tensor, marks_after: bool
) -> None:
    room = link.allocate(raw(X).numel())
    mark = link.mark()
    link.copy(room, raw(host), mark, "x").wait()
    with Kernels(link):
        room.view(torch.float32).sum()
    link.copy(room, raw(host), link.mark() if marks_after else mark, "y").wait()
    assert link.reports == ([] if marks_after else ["y may overwrite what is still being read"])


def test_room_is_used_no_sooner_than_it_is_made(link: LateLink, host: Tensor) -> None:
    early = link.mark()
    with Kernels(link):
        X + 1
    room = link.allocate(raw(X).numel())
    link.copy(room, raw(host), early, "x").wait()
    assert link.reports == ["x may come before its room is free"]


def test_room_is_given_back_no_sooner_than_its_copies_are_over(
    link: LateLink, host: Tensor
) -> None:
    room = link.allocate(raw(X).numel())
    arrival = link.copy(room, raw(host), link.mark(), "x")
    del room
    arrival.wait()
    assert link.reports == [
        "memory is given back to which a copy may still come",
        "x comes into memory that was given back",
    ]
