"""A late card does what CUDA does, and reports what CUDA would not forgive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from tests.devices.cards import LateCards
from tests.devices.cuda_names import ALREADY_PINNED, late_cards

X = torch.arange(1.0, 257.0)
LATEST = 0
"""The seed of a schedule in which nothing is done before somebody waits for it."""


@pytest.fixture
def cards() -> Iterator[LateCards]:
    with late_cards(LateCards(LATEST, count=2)) as cards:
        yield cards


@contextmanager
def side_stream() -> Iterator[torch.cuda.Stream]:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        yield stream


def pinned() -> Tensor:
    return X.clone().pin_memory()


def elsewhere(call: Callable[[], object]) -> object:
    """The result of a call on another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def test_a_card_computes_what_the_cpu_does(cards: LateCards) -> None:
    weight = X.reshape(16, 16).to("cuda")
    assert weight.device == torch.device("cuda", 0)
    assert weight.is_cuda
    product = torch.nn.functional.linear(weight, weight)
    assert torch.equal(product.cpu(), X.reshape(16, 16) @ X.reshape(16, 16).T)
    assert cards.reports == []


def test_parameters_are_given_memory_of_a_card(cards: LateCards) -> None:
    layer = torch.nn.Linear(16, 16)
    on_host = layer.weight.data
    there = on_host.to("cuda")
    layer.weight.data = there
    assert (layer.weight.is_cuda, layer.weight.data_ptr()) == (True, there.data_ptr())
    layer.weight.data = on_host
    assert not layer.weight.is_cuda


def test_memory_that_is_freed_is_handed_out_again_at_once_and_holds_no_numbers(
    cards: LateCards,
) -> None:
    first = X.to("cuda")
    place = first.data_ptr()
    del first
    second = torch.empty(256, device="cuda")
    assert second.data_ptr() == place
    assert second.cpu().isnan().all()
    assert cards.reports == []


def test_what_a_stream_still_computes_with_is_not_lost_when_it_is_freed(cards: LateCards) -> None:
    first = X.to("cuda")
    doubled = first * 2
    del first
    torch.empty(256, device="cuda").fill_(7.0)
    assert torch.equal(doubled.cpu(), X * 2)
    assert cards.reports == []


@pytest.mark.parametrize("waits", [True, False])
def test_who_does_not_wait_for_a_copy_reads_no_numbers(cards: LateCards, waits: bool) -> None:
    room, source = torch.empty(256, device="cuda"), pinned()
    begun = torch.cuda.Event()
    begun.record()
    with side_stream() as stream:
        begun.wait()
        room.copy_(source, non_blocking=True)
        event = stream.record_event()
    if waits:
        torch.cuda.current_stream().wait_event(event)
    doubled = (room * 2).cpu()
    assert torch.equal(doubled, X * 2) is waits
    assert doubled.isnan().all() != waits
    expected = [] if waits else ["aten.mul.Tensor reads what may not have come by a copy"]
    assert cards.reports == expected


@pytest.mark.parametrize("waits", [True, False])
def test_what_is_still_read_is_not_written_to(cards: LateCards, waits: bool) -> None:
    room, source = X.to("cuda"), (X * 0).pin_memory()
    doubled = room * 2
    with side_stream() as stream:
        if waits:
            stream.wait_stream(torch.cuda.default_stream())
        room.copy_(source, non_blocking=True)
        stream.synchronize()
    assert torch.equal(doubled.cpu(), X * 2) is waits
    expected = [] if waits else ["a copy writes where aten.mul.Tensor may still read"]
    assert cards.reports == expected


@pytest.mark.parametrize("waits", [True, False])
def test_room_is_given_back_no_sooner_than_its_copies_are_over(
    cards: LateCards, waits: bool
) -> None:
    room, source = torch.empty(256, device="cuda"), pinned()
    with side_stream() as stream:
        stream.wait_stream(torch.cuda.default_stream())
        room.copy_(source, non_blocking=True)
    if waits:
        torch.cuda.current_stream().wait_stream(stream)
    del room
    other = torch.ones(256, device="cuda")
    stream.synchronize()
    assert torch.equal(other.cpu(), torch.ones(256)) is True
    expected = [] if waits else ["memory is given back to which a copy may still come"]
    assert cards.reports == expected


def test_memory_belongs_to_the_stream_on_which_it_was_allocated(cards: LateCards) -> None:
    with side_stream():
        first = X.to("cuda")
    doubled = first * 2
    del first
    with side_stream():
        torch.empty(1, device="cuda")
    assert doubled.is_cuda
    assert cards.reports == ["memory is given back to which aten.mul.Tensor may still read"]


def test_pinned_memory_is_read_late_and_pageable_memory_at_once(cards: LateCards) -> None:
    early, late = X.clone(), pinned()
    from_early = torch.empty(256, device="cuda").copy_(early, non_blocking=True)
    from_late = torch.empty(256, device="cuda").copy_(late, non_blocking=True)
    early.zero_()
    late.zero_()
    assert [wait.why for wait in cards.waits] == ["a copy from pageable memory of the host"]
    assert torch.equal(from_early.cpu(), X)
    assert torch.equal(from_late.cpu(), X * 0)


def test_what_comes_to_the_host_without_waiting_is_there_after_its_event(cards: LateCards) -> None:
    values = (X.to("cuda") * 2).to("cpu", non_blocking=True)
    event = torch.cuda.current_stream().record_event()
    assert values.isnan().all()
    event.synchronize()
    assert torch.equal(values, X * 2)


def test_pinned_memory_is_let_go_no_sooner_than_it_has_been_read(cards: LateCards) -> None:
    source, runtime = X.clone(), torch.cuda.cudart()
    assert runtime.cudaHostRegister(source.data_ptr(), source.nbytes, 0) == 0
    torch.empty(256, device="cuda").copy_(source, non_blocking=True)
    assert runtime.cudaHostUnregister(source.data_ptr()) == 0
    assert cards.reports == ["host memory is let go while a copy still uses it"]


def test_an_error_stays_until_a_kernel_is_launched_on_its_thread(cards: LateCards) -> None:
    source, runtime = X.clone(), torch.cuda.cudart()
    runtime.cudaHostRegister(source.data_ptr(), source.nbytes, 0)
    again = runtime.cudaHostRegister(source.data_ptr(), source.nbytes, 0)
    assert again == ALREADY_PINNED
    elsewhere(lambda: torch.zeros(1, device="cuda"))
    with pytest.raises(torch.AcceleratorError, match="CUDA error 712"):
        torch.zeros(1, device="cuda")
    torch.zeros(1, device="cuda")


def test_what_a_kernel_fails_with_comes_to_light_later_and_for_good(cards: LateCards) -> None:
    table = X.reshape(16, 16).to("cuda")
    torch.nn.functional.embedding(torch.tensor([3]).to("cuda"), table)
    torch.nn.functional.embedding(torch.tensor([16]).to("cuda"), table)
    for _ in range(2):
        with pytest.raises(torch.AcceleratorError, match="index out of range"):
            torch.cuda.synchronize()
    cards.schedule.failure = None


def test_every_thread_has_its_own_card_and_stream(cards: LateCards) -> None:
    def present() -> tuple[int, torch.device, bool]:
        default = torch.cuda.current_stream() == torch.cuda.default_stream()
        return torch.cuda.current_device(), torch.empty(1, device="cuda").device, default

    with torch.cuda.stream(torch.cuda.Stream(1)):
        assert present() == (1, torch.device("cuda", 1), False)
        assert elsewhere(present) == (0, torch.device("cuda", 0), True)
    assert present() == (0, torch.device("cuda", 0), True)


def test_tensors_of_two_cards_do_not_mix(cards: LateCards) -> None:
    first, second = X.to("cuda:0"), X.to("cuda:1")
    for other in (second, X):
        with pytest.raises(RuntimeError, match="all tensors to be on the same device"):
            first + other
    assert torch.equal((first + second.to("cuda:0")).cpu(), X + X)
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(0))
    with pytest.raises(RuntimeError, match="does not match recording stream's device 1"):
        event.record(torch.cuda.current_stream(1))


def test_to_ask_for_a_value_is_to_wait(cards: LateCards) -> None:
    values = X.to("cuda")
    cards.waits.clear()
    for look in (
        lambda: values.sum().item(),
        lambda: bool(values[0] > 0),
        values.nonzero,
        values.cpu,
        lambda: values[values > 3],
        lambda: torch.equal(values, values),
    ):
        look()
    assert len(cards.waits) == 6


def test_memory_ends_and_is_counted() -> None:
    with late_cards(LateCards(LATEST, capacity=4096)) as cards:
        first = X.to("cuda")
        torch.ones(512, device="cuda")
        stats = torch.cuda.memory_stats_as_nested_dict()
        assert stats["allocated_bytes"]["all"] == {"current": 1024, "peak": 3072}
        assert torch.cuda.mem_get_info() == (1024, 4096)
        with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 4096 bytes"):
            torch.empty(1024, device="cuda")
        assert torch.cuda.mem_get_info() == (3072, 4096)
        assert torch.equal(first.cpu(), X)
        assert cards.reports == []


@pytest.mark.parametrize("seed", range(20))
def test_streams_that_wait_for_each_other_compute_the_same_in_every_order(seed: int) -> None:
    with late_cards(LateCards(seed)) as cards:
        a, b = X.to("cuda"), X.to("cuda")
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()
        for _ in range(10):
            side.wait_stream(main)
            with torch.cuda.stream(side):
                b.add_(a)
            main.wait_stream(side)
            a.mul_(0.5).add_(b)
        expected_a, expected_b = X.clone(), X.clone()
        for _ in range(10):
            expected_b.add_(expected_a)
            expected_a.mul_(0.5).add_(expected_b)
        assert torch.equal(a.cpu(), expected_a)
        assert torch.equal(b.cpu(), expected_b)
        assert cards.reports == []


def test_torch_has_no_cuda_afterwards() -> None:
    with late_cards(LateCards()):
        kept = X.to("cuda")
    assert not torch.cuda.is_available()
    with pytest.raises(RuntimeError, match="not linked with support for cuda"):
        kept + 1
