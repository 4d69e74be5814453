"""The link to a CUDA device, with a `torch.cuda` that writes down what it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dpnb.devices import best_device, with_index
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.offload.backends import open_link
from dpnb.strategies.offload.cuda_link import CudaLink, EventMark
from dpnb.strategies.offload.packing import allocate_host_memory
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from tests.strategies.pipes import build

pytestmark = pytest.mark.exhaustive


class Stream:
    """A stream of a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def synchronize(self) -> None:
        """All is done."""


class Cards:
    """Two cards, of which every thread has a present one.

    Attributes:
        registered: host memory that is pinned: its address and the card that was asked.
        let_go: likewise, what was pinned.
    """

    def __init__(self) -> None:
        self.registered: list[tuple[int, int]] = []
        self.let_go: list[tuple[int, int]] = []
        self._thread = local()

    @property
    def present(self) -> int:
        """The present one of this thread."""
        index: int = vars(self._thread).get("index", 0)
        return index

    def set_device(self, index: int) -> None:
        """Another one."""
        self._thread.index = index

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        """Another one within."""
        assert device.index is not None
        before, self._thread.index = self.present, device.index
        yield
        self._thread.index = before

    def pin(self, address: int, nbytes: int, flags: int) -> int:
        """Register memory of the host; 0 is success."""
        self.registered.append((address, self.present))
        return 0

    def unpin(self, address: int) -> int:
        """Let it go."""
        self.let_go.append((address, self.present))
        return 0


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Cards:
    cards = Cards()
    runtime = SimpleNamespace(cudaHostRegister=cards.pin, cudaHostUnregister=cards.unpin)
    for name, value in {
        "Stream": Stream,
        "device": cards.device,
        "cudart": lambda: runtime,
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "current_device": lambda: cards.present,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "current_accelerator": lambda: torch.device("cuda"),
        "current_device_index": lambda: cards.present,
    }.items():
        monkeypatch.setattr(torch.accelerator, name, value)
    return cards


def elsewhere(cards: Cards, index: int, call: Any) -> Any:
    """The result of a call on another thread, whose present card is this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(cards.set_device, index).result()
        return pool.submit(call).result()


def test_a_device_has_the_number_of_the_threads_present_one(cards: Cards) -> None:
    assert with_index(torch.device("cuda")) == torch.device("cuda", 0)
    assert elsewhere(cards, 1, lambda: with_index(best_device())) == torch.device("cuda", 1)
    assert with_index(torch.device("cuda", 1)) == torch.device("cuda", 1)
    for other in ("cpu", "meta", "mps"):
        assert with_index(torch.device(other)) == torch.device(other)


def test_memory_is_pinned_for_the_links_own_device_on_any_thread(cards: Cards) -> None:
    link = elsewhere(cards, 1, lambda: open_link("cuda"))
    assert link.device == torch.device("cuda", 1)
    memory = [allocate_host_memory(4096) for _ in range(3)]
    for one in memory:
        link.pin(one)
    link.unpin(memory[0])
    link.close()
    expected = [(one.data_ptr(), 1) for one in memory]
    assert cards.registered == expected
    assert cards.let_go == expected
    assert cards.present == 0


@pytest.mark.parametrize("kind", [ModelOffload, SequentialOffload])
@pytest.mark.parametrize(("named", "index"), [("cuda", 1), (None, 1), ("cuda:0", 0)])
def test_a_run_computes_where_the_weights_come_to_whoever_starts_it(
    kind: Any, named: str | None, index: int, cards: Cards
) -> None:
    pipe = build("tiny-sd")
    elsewhere(cards, 1, lambda: pipe.strategies.use([kind(device=named)]))
    link = pipe.strategies.networks.link
    assert isinstance(link, CudaLink)
    target = torch.device("cuda", index)
    assert link.device == target
    assert {card for _, card in cards.registered} == {index}
    for present in (0, 1):
        assert elsewhere(cards, present, lambda: pipe._execution_device) == target
        assert elsewhere(cards, present, lambda: pipe.strategies.networks.device) == target
    pipe.strategies.use([])
    assert sorted(cards.let_go) == sorted(cards.registered)


def test_a_device_map_names_a_card_by_its_number(cards: Cards) -> None:
    pipe = build("tiny-sd")
    by_name = DeviceMap("cuda").place_components(pipe.strategies.networks)
    assert {placement.device for placement in by_name} == {torch.device("cuda", 0)}
    placements = elsewhere(
        cards,
        1,
        lambda: DeviceMap.of({"unet": "cuda", "vae": 0}).place_components(pipe.strategies.networks),
    )
    assert {p.name: str(p.device) for p in placements if p.name in ("unet", "vae")} == {
        "unet": "cuda:1",
        "vae": "cuda:0",
    }
    twice = DeviceMap((("unet", "cuda"), ("unet.mid_block", "cuda:0")))
    assert twice.place_components(pipe.strategies.networks)


@pytest.mark.gpu
def test_cuda_copies_beside_the_computation_from_pinned_memory() -> None:
    link = open_link("cuda")
    source = allocate_host_memory(64 << 20)
    source.copy_(torch.arange(64 << 20, dtype=torch.uint8))
    link.pin(source)
    assert link.pinned == 64 << 20
    target = link.allocate(64 << 20)
    a = torch.randn(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    for _ in range(100):
        a @ a
    mark = link.copy(target, source, link.mark(), "x")
    assert isinstance(mark, EventMark)
    assert not mark.event.query()  # the copy comes after all of these, and nobody waits for it
    mark.wait()
    assert torch.equal(target.cpu(), source)
    link.unpin(source)
    link.close()
    assert link.pinned == 0
