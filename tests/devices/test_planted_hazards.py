"""What is wrong on purpose in offloading comes to light on a late card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from dpnb.strategies import placement
from dpnb.strategies.offload import cuda_link, streamed_network
from dpnb.strategies.offload.cuda_link import CudaLink, EventMark
from dpnb.strategies.offload.device_memory import DeviceMemory
from dpnb.strategies.offload.link import Mark
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from tests.devices.cards import LateCards
from tests.devices.cuda_names import late_cards
from tests.strategies.pipes import build, draw

LATEST = 0
"""What is reported does not depend on the schedule."""

PLACEMENTS = [SequentialOffload(device="cuda"), ModelOffload("cuda")]


@pytest.fixture(scope="module")
def pipe() -> Any:
    return build("tiny-sd")


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[LateCards]:
    monkeypatch.setattr(streamed_network, "SMALL_TENSOR", 256)
    with late_cards(LateCards(LATEST, count=2)) as cards:
        yield cards


def run(pipe: Any, strategy: Any) -> torch.Tensor | None:
    """The picture of a run; `None` where a kernel has failed with what it has read."""
    pipe.computes_values = False  # so that no NaN is looked for
    try:
        with pipe.strategies.using(strategy):
            return draw(pipe)
    except torch.AcceleratorError as error:
        if "index out of range" not in str(error):
            raise
        return None
    finally:
        del pipe.computes_values


@pytest.mark.parametrize("strategy", PLACEMENTS, ids=repr)
def test_nothing_is_reported_where_nothing_is_planted(
    pipe: Any, strategy: Any, cards: LateCards
) -> None:
    plain = draw(pipe)
    drawn = run(pipe, strategy)
    assert drawn is not None
    assert torch.equal(drawn, plain)
    assert cards.reports == []


@pytest.mark.parametrize("strategy", PLACEMENTS, ids=repr)
def test_a_missing_wait(
    pipe: Any, strategy: Any, cards: LateCards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EventMark, "wait", lambda mark: None)
    run(pipe, strategy)
    assert any("reads what may not have come by a copy" in report for report in cards.reports)


def test_a_copy_that_does_not_wait_for_who_reads(
    pipe: Any, cards: LateCards, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hasty(link: CudaLink, target: Any, source: Any, after: Mark, what: str) -> Mark:
        with torch.cuda.stream(link._stream):
            target.copy_(source, non_blocking=True)
            return link.mark()

    monkeypatch.setattr(CudaLink, "_copy", hasty)
    run(pipe, PLACEMENTS[0])
    assert any(r.startswith("a copy writes where") for r in cards.reports)


def test_an_early_free(pipe: Any, cards: LateCards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceMemory, "_await_copies", lambda memory: None)
    pipe.computes_values = False

    def fail(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pipe.strategies.using(PLACEMENTS[0]), pytest.raises(KeyboardInterrupt):
        draw(pipe, callback_on_step_end=fail)
    del pipe.computes_values
    torch.empty(1, device="cuda")
    assert "memory is given back to which a copy may still come" in cards.reports


@pytest.mark.parametrize("strategy", PLACEMENTS, ids=repr)
def test_a_wrong_stream(
    pipe: Any, strategy: Any, cards: LateCards, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mark(link: CudaLink) -> Mark:
        event = torch.cuda.Event()
        event.record(torch.cuda.default_stream(link.device))
        return EventMark(event, link.device)

    monkeypatch.setattr(CudaLink, "mark", mark)
    run(pipe, strategy)
    assert any("reads what may not have come by a copy" in report for report in cards.reports)


def test_a_wrong_current_device(
    pipe: Any, cards: LateCards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "open_link", lambda _: CudaLink(torch.device("cuda", 1)))
    monkeypatch.setattr(
        SequentialOffload, "execution_device", lambda *_: torch.device("cuda", 0), raising=False
    )
    monkeypatch.setattr("dpnb.strategies.offload.streamed_network.bring_inputs", lambda m, _: m)
    with pytest.raises(RuntimeError, match="all tensors to be on the same device"):
        run(pipe, PLACEMENTS[0])


def test_pageable_memory_that_is_taken_for_pinned(
    pipe: Any, cards: LateCards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CudaLink, "pin", lambda link, memory: None)
    run(pipe, PLACEMENTS[0])
    slow = [wait for wait in cards.waits if "pageable" in wait.why]
    assert len(slow) > 20
    assert all("offload/cuda_link.py" in " ".join(wait.where) for wait in slow)


@pytest.mark.parametrize("is_read", [True, False])
def test_an_error_that_nobody_reads(
    pipe: Any,
    cards: LateCards,
    is_read: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cards.most_pinned = 4096
    if is_read:
        drawn = run(pipe, PLACEMENTS[0])
        assert drawn is not None
        assert torch.equal(drawn, draw(pipe))
        assert "could not be pinned (CUDA error 2)" in caplog.text
        return
    monkeypatch.setattr(cuda_link, "_clear_error", lambda device: None)
    with pytest.raises(torch.AcceleratorError, match="CUDA error 2, of an earlier call"):
        run(pipe, PLACEMENTS[0])


@pytest.mark.parametrize("waits", [True, False])
def test_host_memory_that_is_let_go_too_early(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def let_go(device: torch.device, stream: torch.cuda.Stream, *addresses: int) -> None:
        for address in addresses:
            torch.cuda.cudart().cudaHostUnregister(address)

    if not waits:
        monkeypatch.setattr(cuda_link, "_unpin", let_go)
    memory = torch.empty(8192, dtype=torch.uint8)
    with late_cards(LateCards(LATEST)) as cards:
        link = CudaLink(torch.device("cuda", 0))
        link.pin(memory)
        room = link.allocate(8192)
        link.copy(room, memory, link.mark(), "x")
        link.close()
        assert room.is_cuda
    expected = [] if waits else ["host memory is let go while a copy still uses it"]
    assert cards.reports == expected


def test_what_a_failed_card_held_is_let_go(pipe: Any, cards: LateCards) -> None:
    plain = draw(pipe)
    pipe.strategies.use([PLACEMENTS[0]])
    table, look_up = torch.zeros(2, 2).to("cuda"), torch.nn.functional.embedding
    look_up(torch.tensor([1]).to("cuda"), table)
    look_up(torch.tensor([2]).to("cuda"), table)
    with pytest.raises(torch.AcceleratorError, match="index out of range"):
        torch.cuda.synchronize()
    pipe.strategies.use([])
    assert torch.equal(draw(pipe), plain)
    cards.schedule.failure = None
