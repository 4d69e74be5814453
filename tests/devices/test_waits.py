"""No denoising step waits for a card, mixes devices, or reads what may not have come.

`LATE_WAITS=pairs` tries all pipelines with all schedulers, and all pipelines with all strategies;
`LATE_WAITS=all` every pipeline with every scheduler and every strategy: a run for the first two,
in which strategies come and go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, TypeAlias

import pytest
import torch
from typing_extensions import override

import dpnb
import dpnb.schedulers
from dpnb.errors import ComponentError
from dpnb.loading.components.registry import PIPELINES
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener
from dpnb.stages import Stage, Step
from dpnb.strategies.offload import streamed_network
from dpnb.strategies.perturbed_attention import PerturbedAttention
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.strategy import Slot, Strategy
from tests.devices.cards import LateCards, Wait
from tests.devices.cuda_names import late_cards
from tests.pipelines import derived
from tests.pipelines.test_unconditional import make as make_without_words
from tests.strategies.pipes import SAMPLES, build

Choice: TypeAlias = tuple[str, str | None, Strategy | None]

WHICH = os.environ.get("LATE_WAITS", "")

WITHOUT_WORDS = ("DDIMPipeline", "DDPMPipeline", "LDMPipeline", "PNDMPipeline")
NAMES = [name for name in PIPELINES if name != "DiffusionPipeline"]

SHAPES = {
    "StableDiffusionPipeline": "tiny-sd",
    "StableDiffusionXLPipeline": "tiny-sdxl",
    "FluxPipeline": "tiny-flux",
    "LDMTextToImagePipeline": "tiny-ldm",
}

SCHEDULERS = (
    *dpnb.schedulers.INTERCHANGEABLE,
    "DDIMParallelScheduler",
    "DDPMParallelScheduler",
    "SASolverScheduler",
    "LCMScheduler",
    "TCDScheduler",
)
FLOW = ("FlowMatchEulerDiscreteScheduler",)

KEEPING = ("StableDiffusionUpscalePipeline",)
"""Their second scheduler keeps a table on the card, which is gone in the next test."""

LOOKS_ONCE = "strategies/reuse/block_residuals.py"

KNOWN = {
    LOOKS_ONCE: "StepCache decides by a number, once in a step",
    "strategies/offload/hosted_weights.py": "ConditioningCache brings what it needs once in a run",
}
"""Lines whose waits are wanted, by file, and why."""

MOST_LOOKS = 1
"""So often StepCache may look in a step."""

STRATEGIES: list[Strategy] = [
    replace(one, device="cuda") if isinstance(one, (ModelOffload, SequentialOffload)) else one
    for one in SAMPLES
    if one.slot is not Slot.PLACEMENT or isinstance(one, (ModelOffload, SequentialOffload))
]
"""All but maps of devices, whose layers accelerate brings, and it waits for each."""


def schedulers_of(name: str) -> tuple[str, ...]:
    if name in WITHOUT_WORDS:
        return ()
    return FLOW if name.startswith("Flux") else SCHEDULERS


def choices() -> Iterator[Choice]:
    """Those that are tried."""
    for name in NAMES:
        yield from product([name], (None, *schedulers_of(name)), [None])
        yield from product([name], [None], STRATEGIES)


SAMPLE: list[Choice] = [
    ("StableDiffusionPipeline", None, None),
    *(("StableDiffusionPipeline", name, None) for name in SCHEDULERS[1::4]),
    *(("StableDiffusionPipeline", None, strategy) for strategy in STRATEGIES[::8]),
    ("StableDiffusionInpaintPipeline", None, SequentialOffload(device="cuda")),
    ("StableDiffusionSAGPipeline", None, None),
    ("FluxInpaintPipeline", None, None),
    ("StableDiffusionLatentUpscalePipeline", None, None),
    ("StableDiffusionPipeline", None, StepCache(threshold=10.0, last=0)),
    ("StableDiffusionPipeline", None, PerturbedAttention(adaptive_scale=0.01)),
]

CHOICES = list(choices()) if WHICH else SAMPLE

RUNS = [
    (name, scheduler)
    for name in NAMES
    for scheduler in (None, *schedulers_of(name))
    if WHICH == "all" or (name, scheduler) == ("StableDiffusionPipeline", "DDIMScheduler")
]
"""Those in which all strategies come and go."""


@cache
def pipeline(name: str) -> Any:
    kind = getattr(dpnb, name)
    if name in WITHOUT_WORDS:
        pipe = make_without_words(kind)
    elif kind in derived.ALL:
        pipe = derived.derive(kind)
    elif name in SHAPES:
        pipe = build(SHAPES[name])
    else:
        pipe = kind.from_pipe(build("tiny-sdxl" if "XL" in name else "tiny-sd"))
    pipe.set_progress_bar_config(disable=True)
    return pipe


class StepWaits(RunListener[Run]):
    """Notes when the host has waited within denoising steps.

    Attributes:
        waits: for each step, what it has waited for.
    """

    def __init__(self, cards: LateCards) -> None:
        self._cards = cards
        self._first = 0
        self.waits: list[list[Wait]] = []

    def begin(self, *_: Any) -> None:
        """A step begins."""
        self._first = len(self._cards.waits)

    @override
    def end_step(self, run: Run, step: Step) -> None:
        if step.stage is Stage.DENOISING:
            self.waits.append(self._cards.waits[self._first :])


class SwitchedSteps(StepWaits):
    """Notes waits while each strategy is on for two steps; then the next one takes its place.

    Attributes:
        left: what is still to come.
    """

    def __init__(self, cards: LateCards, strategies: list[Strategy]) -> None:
        super().__init__(cards)
        self.left = strategies
        self._between = 0

    @override
    def between_steps(self, run: Run) -> None:
        self._between += 1
        if self._between % 2:
            run.pipe.strategies.use([self.left.pop(0)] if self.left else [])


def make_scheduler(name: str, config: Any) -> Any:
    """One of this class, unless it takes no such settings."""
    try:
        return getattr(dpnb, name).from_config(config)
    except ValueError as refusal:
        pytest.skip(str(refusal))


def is_known(wait: Wait) -> bool:
    """Whether somebody wanted it."""
    return wait.where[-1].rpartition(":")[0] in KNOWN


def draw(pipe: Any, name: str, steps: int = 4) -> Any:
    if name in WITHOUT_WORDS:
        generator = torch.Generator().manual_seed(0)
        return pipe(num_inference_steps=steps, generator=generator, output_type="pt")
    return derived.draw(pipe, num_inference_steps=steps)


def try_scheduler(pipe: Any, name: str) -> None:
    """Skip what a pipeline refuses to draw with its scheduler, before anything is switched on."""
    try:
        draw(pipe, name, steps=2)
    except (ComponentError, ValueError) as refusal:
        pytest.skip(str(refusal))


def watch_steps(heard: StepWaits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `heard` know when a step begins, after all that strategies do between two of them."""
    before_step = StrategyStack.before_step

    def note(stack: StrategyStack, index: int, total: int) -> None:
        heard.begin()
        before_step(stack, index, total)

    monkeypatch.setattr(StrategyStack, "before_step", note)


def assert_no_waits(heard: StepWaits, cards: LateCards) -> None:
    """No step has waited, but for what is known to; and nothing was mixed or read too early."""
    assert heard.waits
    unknown = [[wait for wait in step if not is_known(wait)] for step in heard.waits]
    assert unknown == [[]] * len(heard.waits)
    looks = [sum(LOOKS_ONCE in wait.where[-1] for wait in step) for step in heard.waits]
    assert max(looks) <= MOST_LOOKS
    assert cards.reports == []


@contextmanager
def placed(pipe: Any, name: str, scheduler: str | None, *, is_moved: bool = True) -> Iterator[None]:
    """`pipe` on the card, with a scheduler; then all is as before."""
    own = pipe.scheduler
    if is_moved:
        pipe.to("cuda")
    try:
        if scheduler is not None:
            pipe.scheduler = make_scheduler(scheduler, own.config)
            try_scheduler(pipe, name)
        yield
    finally:
        pipe.strategies.use([])
        pipe.scheduler = own
        if is_moved:
            pipe.to("cpu")


@contextmanager
def watched(pipe: Any, heard: StepWaits) -> Iterator[None]:
    """Let `heard` watch runs of `pipe` within."""
    unwatch = pipe.watch(heard)
    try:
        yield
    finally:
        unwatch()


def a_pipeline(name: str) -> Any:
    """One of that class, which former tests may have used."""
    return pipeline.__wrapped__(name) if name in KEEPING else pipeline(name)


@pytest.mark.parametrize(("name", "scheduler", "strategy"), CHOICES, ids=repr)
def test_no_step_waits(
    name: str, scheduler: str | None, strategy: Strategy | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_network, "SMALL_TENSOR", 256)
    pipe = a_pipeline(name)
    is_moved = not isinstance(strategy, (ModelOffload, SequentialOffload))
    with late_cards(LateCards(0)) as cards, placed(pipe, name, scheduler, is_moved=is_moved):
        if strategy is not None:
            reason = pipe.strategies.obstacle(strategy)
            if reason is not None:
                pytest.skip(reason)
            pipe.strategies.use([strategy])
        heard = StepWaits(cards)
        watch_steps(heard, monkeypatch)
        with watched(pipe, heard):
            draw(pipe, name)
    assert_no_waits(heard, cards)


@pytest.mark.parametrize(("name", "scheduler"), RUNS)
def test_no_step_waits_while_strategies_come_and_go(
    name: str, scheduler: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_network, "SMALL_TENSOR", 256)
    pipe = a_pipeline(name)
    with late_cards(LateCards(0)) as cards, placed(pipe, name, scheduler):
        served = [one for one in STRATEGIES if pipe.strategies.obstacle(one) is None]
        assert served
        heard = SwitchedSteps(cards, served)
        watch_steps(heard, monkeypatch)
        with watched(pipe, heard):
            while heard.left:
                before = len(heard.left)
                draw(pipe, name, steps=12)
                assert len(heard.left) < before
    assert_no_waits(heard, cards)
