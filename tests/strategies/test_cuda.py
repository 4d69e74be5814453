"""Every strategy, alone and with every other, on a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch

from dpnb.metering.tensors import TensorMeter
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.strategy import Effect, Strategy
from tests.strategies.pipes import SAMPLES, build, draw, traces, values

pytestmark = pytest.mark.gpu


def on_cuda(strategy: Strategy) -> Strategy:
    """The same strategy with a real device where the sample has a simulated one."""
    if isinstance(strategy, (ModelOffload, SequentialOffload)):
        return replace(strategy, device="cuda")
    return strategy


ALONE = [frozenset({on_cuda(strategy)}) for strategy in SAMPLES]

PAIRS = [
    pytest.param(frozenset(pair), marks=pytest.mark.pairs)
    for pair in combinations([on_cuda(s) for s in SAMPLES], 2)
    if len({strategy.slot for strategy in pair}) == 2
]


@pytest.fixture(scope="module", params=["tiny-sd", "tiny-sdxl", "tiny-flux"])
def resident(request: pytest.FixtureRequest) -> Iterator[tuple[Any, torch.Tensor]]:
    """A pipeline on the device, and its picture."""
    pipe = build(request.param).to("cuda")
    yield pipe, draw(pipe)
    pipe.to("cpu")


@pytest.fixture(autouse=True)
def xformers() -> None:
    """The real package, if it is installed."""


@pytest.mark.parametrize(
    "plan", [*ALONE, *PAIRS], ids=lambda plan: " ".join(sorted(map(repr, plan)))
)
def test_the_picture_is_that_of_the_resident_pipeline(
    resident: tuple[Any, torch.Tensor], plan: frozenset[Strategy]
) -> None:
    pipe, picture = resident
    sentences = [pipe.strategies.obstacle(strategy) for strategy in plan]
    if any(sentences):
        assert all(str(s).endswith(".") for s in sentences if s is not None)
        return
    before, known = traces(pipe), values(pipe)
    pipe.strategies.use(plan)
    drawn = draw(pipe)
    if all(strategy.effect is Effect.EXACT for strategy in plan):
        torch.testing.assert_close(drawn, picture, rtol=0, atol=1e-3)
    pipe.strategies.use([])
    assert traces(pipe) == before
    assert all(torch.equal(value, known[key]) for key, value in values(pipe).items())
    assert torch.equal(draw(pipe), picture)


def test_counted_bytes_agree_with_the_allocator(
    resident: tuple[Any, torch.Tensor], record_property: Any
) -> None:
    pipe, _ = resident
    draw(pipe, height=128, width=128)
    torch.cuda.reset_peak_memory_stats()
    base = torch.cuda.memory_allocated()
    with TensorMeter() as meter:
        draw(pipe, height=128, width=128)
    allocated = torch.cuda.max_memory_allocated() - base
    record_property("allocator over counted", allocated / meter.peak)
    print(f"allocator {allocated} bytes, counted {meter.peak}, ratio {allocated / meter.peak:.3f}")
    assert allocated >= 0.9 * meter.peak


def test_a_device_map_leaves_the_host_to_the_rest(resident: tuple[Any, torch.Tensor]) -> None:
    pipe, picture = resident
    network = "unet" if "unet" in pipe.parts() else "transformer"
    with pipe.strategies.using(DeviceMap.of({"vae": "cpu", network: 0})):
        assert {p.device.type for p in pipe.vae.parameters()} == {"cpu"}
        torch.testing.assert_close(draw(pipe), picture, rtol=0, atol=1e-3)
