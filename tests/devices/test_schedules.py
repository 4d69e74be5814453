"""Pictures are the same to the bit whenever a card does its work, and whoever asks for it.

`LATE_SCHEDULES=200` takes so many schedules for every test, and not one or a handful. They go round
over strategies and placements, so that all of these meet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb import (
    ConditioningCache,
    GuidanceInterval,
    LayerwiseCasting,
    LoRA,
    Precision,
    QKVFusion,
    Quantization,
    StepCache,
    TokenMerging,
    VaeTiling,
)
from dpnb.strategies.offload import streamed_network
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.strategy import Strategy
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request
from tests.devices.cards import LateCards
from tests.devices.cuda_names import late_cards
from tests.pipelines.attached.foreign import arguments, picture_of
from tests.strategies.pipes import TINY, build, draw

SCHEDULES = int(os.environ.get("LATE_SCHEDULES", "0"))

PLACEMENTS: tuple[Strategy | None, ...] = (
    SequentialOffload(device="cuda"),
    ModelOffload("cuda"),
    SequentialOffload("3MiB", "cuda"),
    None,
)
"""`None` has everything on the card."""

BESIDE: tuple[Strategy | None, ...] = (
    None,
    Precision(),
    Quantization(),
    StepCache(threshold=10.0, last=0),
    TokenMerging(),
    TINY,
    GuidanceInterval(0.5, 1),
    ConditioningCache(),
    VaeTiling(4, spill=True),
    LoRA(0.5),
    QKVFusion(),
    LayerwiseCasting(),
    Quantization("fp8"),
)
"""What is on beside a placement; the first eight are always tried."""

WORDS = Request("a red apple", steps=2, seed=3)


def schedules(count: int = 1) -> range:
    """The seeds of the schedules in which something is tried, by default so many."""
    return range(SCHEDULES or count)


@cache
def pipeline(name: str) -> Any:
    return build(name)


@cache
def plain(name: str, other: Strategy | None) -> Tensor:
    """The picture that the CPU draws."""
    pipe = pipeline(name)
    with pipe.strategies.using(*([] if other is None else [other])):
        return draw(pipe)


@pytest.fixture(autouse=True)
def small_tensors_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_network, "SMALL_TENSOR", 256)


@contextmanager
def on_cards(pipe: Any, seed: int, *plan: Strategy | None) -> Iterator[LateCards]:
    """Within, a pipeline computes on the second of two cards, by a plan."""
    chosen = [strategy for strategy in plan if strategy is not None]
    with late_cards(LateCards(seed, count=2)) as cards, torch.cuda.device(1):
        is_placed = any(isinstance(s, (ModelOffload, SequentialOffload)) for s in chosen)
        if not is_placed:
            pipe.to("cuda")
        pipe.strategies.use(chosen)
        try:
            yield cards
        finally:
            pipe.strategies.use([])
            if not is_placed:
                pipe.to("cpu")


@pytest.mark.parametrize("seed", schedules(8))
def test_a_run_draws_what_the_cpu_draws(seed: int) -> None:
    turn, place = divmod(seed, len(BESIDE))
    other, placement = BESIDE[place], PLACEMENTS[(place + turn) % len(PLACEMENTS)]
    expected = plain("tiny-sd", other)
    pipe = pipeline("tiny-sd")
    with on_cards(pipe, seed, placement, other) as cards:
        drawn = draw(pipe)
    assert torch.equal(drawn, expected)
    assert cards.reports == []
    assert cards.books[0].reserved == 0


@pytest.mark.parametrize("name", ["tiny-flux", "inpaint"] if SCHEDULES else ["tiny-flux"])
@pytest.mark.parametrize("seed", schedules())
def test_so_do_other_pipelines(name: str, seed: int) -> None:
    expected = plain(name, None)
    with on_cards(pipeline(name), seed, PLACEMENTS[seed // 4 % 4]) as cards:
        assert torch.equal(draw(pipeline(name)), expected)
    assert cards.reports == []


def waits_of(cards: LateCards, run: Callable[[], object]) -> list[tuple[str, ...]]:
    """Where the host waits in a run, but for the look at what is on its way in the end."""
    first = len(cards.waits)
    run()
    places = [wait.where for wait in cards.waits[first:]]
    return [place for place in places if not any("finite.py" in line for line in place)]


@pytest.mark.parametrize("seed", schedules())
def test_meters_wait_for_nothing_and_change_nothing(seed: int) -> None:
    expected, pipe = plain("tiny-sd", None), pipeline("tiny-sd")
    drawn: list[Tensor] = []
    with on_cards(pipe, seed, PLACEMENTS[seed // 4 % 4]) as cards:
        unmeasured = waits_of(cards, lambda: draw(pipe))
        with dpnb.record(pipe) as trace:
            measured = waits_of(cards, lambda: drawn.append(draw(pipe)))
        steps = trace.trace.by_stage()["denoising"]
    assert len(measured) == len(unmeasured)
    assert torch.equal(drawn[0], expected)
    assert (trace.trace.meter, trace.trace.clock) == ("cuda", "CUDA events")
    assert steps.seconds > 0
    assert 0 < trace.trace.peak <= cards.most_reserved
    assert cards.reports == []


@pytest.mark.parametrize("seed", schedules())
def test_a_run_on_the_sessions_thread(seed: int) -> None:
    pipe = pipeline("tiny-sd")
    expected = pipe(**WORDS.arguments()).images
    session = Session.of(pipe)
    try:
        with on_cards(pipe, seed, PLACEMENTS[seed // 4 % 3]) as cards:
            drawn = session.start(WORDS).wait(60).images
            reserved = [books.reserved for books in cards.books]
    finally:
        session.close()
    assert [p.tobytes() for p in drawn] == [p.tobytes() for p in expected]
    assert cards.reports == []
    assert reserved[0] == 0


def handed_on(steps: Iterator[Any]) -> Iterator[Any]:
    """The steps of a run, each of which another thread asks for."""
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        asked = [one, other]
        while True:
            step = asked[0].submit(next, steps, None).result()
            if step is None:
                return
            asked.reverse()
            yield step


@cache
def foreign() -> Any:
    """A pipeline of diffusers, attached."""
    from tests.reference.foreign.stable_diffusion import CASES as FOREIGN

    [case] = [case for case in FOREIGN if case.name == "StableDiffusionPipeline"]
    return dpnb.attach(case.build())


@pytest.mark.parametrize("seed", schedules())
@pytest.mark.parametrize("is_foreign", [False, True] if SCHEDULES else [False])
def test_a_run_that_is_handed_from_thread_to_thread(is_foreign: bool, seed: int) -> None:
    pipe = foreign() if is_foreign else pipeline("tiny-sd")
    *_, last = pipe.stream(**arguments())
    with on_cards(pipe, seed, PLACEMENTS[seed // 4 % 3]) as cards:
        *_, handed = handed_on(pipe.stream(**arguments()))
        drawn = picture_of(handed).cpu()
    assert torch.equal(drawn, picture_of(last))
    assert cards.reports == []
