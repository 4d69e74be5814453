"""Pictures are the same to the bit whenever a card does its work, and whoever asks for it.

`LATE_SCHEDULES=200` tries every case in so many schedules, and not in one.
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
    LoRA(0.5),
    VaeTiling(4, spill=True),
    QKVFusion(),
    LayerwiseCasting(),
    Quantization("fp8"),
)

WORDS = Request("a red apple", steps=2, seed=3)


def schedules(case: int) -> list[int]:
    """The seeds of the schedules in which a case is tried."""
    return list(range(SCHEDULES)) or [case]


CASES = [(other, seed) for case, other in enumerate(BESIDE) for seed in schedules(case)]


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


@pytest.mark.parametrize(("other", "seed"), CASES, ids=repr)
def test_a_run_draws_what_the_cpu_draws(other: Strategy | None, seed: int) -> None:
    expected = plain("tiny-sd", other)
    pipe = pipeline("tiny-sd")
    placement = PLACEMENTS[(BESIDE.index(other) + seed // 4) % len(PLACEMENTS)]
    with on_cards(pipe, seed, placement, other) as cards:
        drawn = draw(pipe)
    assert torch.equal(drawn, expected)
    assert cards.reports == []
    assert cards.books[0].reserved == 0


@pytest.mark.parametrize("name", ["tiny-flux", "inpaint"])
@pytest.mark.parametrize("seed", schedules(0))
def test_so_do_other_pipelines(name: str, seed: int) -> None:
    expected = plain(name, None)
    with on_cards(pipeline(name), seed, PLACEMENTS[seed // 4 % 4]) as cards:
        assert torch.equal(draw(pipeline(name)), expected)
    assert cards.reports == []


@pytest.mark.parametrize("seed", schedules(5))
def test_meters_wait_for_nothing_and_change_nothing(seed: int) -> None:
    expected, pipe = plain("tiny-sd", None), pipeline("tiny-sd")
    with on_cards(pipe, seed, PLACEMENTS[seed // 4 % 4]) as cards:
        draw(pipe)
        count = len(cards.waits)
        draw(pipe)
        count = len(cards.waits) - count
        with dpnb.record(pipe) as trace:
            before = len(cards.waits)
            drawn = draw(pipe)
            assert settled(cards, before) == settled(cards, before, count)
        steps = trace.trace.by_stage()["denoising"]
    assert torch.equal(drawn, expected)
    assert trace.trace.meter == "cuda"
    assert trace.trace.clock == "CUDA events"
    assert steps.seconds > 0
    assert 0 < trace.trace.peak <= cards.books[1].reserved
    assert cards.reports == []


def settled(cards: LateCards, first: int, count: int | None = None) -> int:
    """How often the host has waited, but for the check of what is on its way in the end."""
    if count is not None:
        waits = cards.waits[:first][-count:]
    else:
        waits = cards.waits[first:]
    return sum(not any("finite.py" in line for line in wait.where) for wait in waits)


@pytest.mark.parametrize("seed", schedules(3))
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
def foreign(placement: Strategy | None) -> tuple[Any, Tensor]:
    """A pipeline of diffusers, attached, and its picture."""
    from tests.reference.foreign.stable_diffusion import CASES as FOREIGN

    [case] = [case for case in FOREIGN if case.name == "StableDiffusionPipeline"]
    studio = dpnb.attach(case.build())
    *_, last = studio.stream(**arguments())
    return studio, picture_of(last)


@pytest.mark.parametrize("seed", schedules(0))
@pytest.mark.parametrize("is_foreign", [False, True])
def test_a_run_that_is_handed_from_thread_to_thread(is_foreign: bool, seed: int) -> None:
    if is_foreign:
        pipe, expected = foreign(None)
        begin: Callable[[], Any] = lambda: pipe.stream(**arguments())  # noqa: E731
    else:
        pipe = pipeline("tiny-sd")
        begin = lambda: pipe.stream(**arguments())  # noqa: E731
        *_, last = begin()
        expected = picture_of(last)
    with on_cards(pipe, seed, PLACEMENTS[seed // 4 % 3]) as cards:
        *_, last = handed_on(begin())
        drawn = picture_of(last).cpu()
    assert torch.equal(drawn, expected)
    assert cards.reports == []
