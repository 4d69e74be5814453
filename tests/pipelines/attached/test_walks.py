"""Random walks of an attached pipeline: whatever was on, or went wrong, leaves no trace."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from torch import nn

import dpnb
from dpnb import (
    AttentionSlicing,
    ChannelsLast,
    ComponentFreeU,
    ComponentFusion,
    ComponentSlicing,
    ComponentTiling,
    ConditioningCache,
    FreeU,
    LayerwiseCasting,
    ModelOffload,
    QKVFusion,
    SequentialOffload,
    VaeSlicing,
    VaeTiling,
)
from dpnb.errors import StrategyError
from dpnb.pipelines.attached.attached_pipeline import AttachedPipeline
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener
from dpnb.strategies.strategy import Strategy
from tests.pipelines.attached.foreign import everything_of
from tests.reference.foreign import (
    flux,
    ltx,
    qwen,
    sana,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    wan,
    z_image,
)
from tests.reference.foreign.case import ForeignCase
from tests.slow import share_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LINK = "simulated:8GiB/s"

PLACEMENTS: tuple[Strategy, ...] = (ModelOffload(device=LINK), SequentialOffload(device=LINK))
"""Under these alone the picture is the same to the last bit."""

SAMPLES: tuple[Strategy, ...] = (
    *PLACEMENTS,
    ChannelsLast(),
    LayerwiseCasting("bfloat16"),
    AttentionSlicing(),
    QKVFusion(),
    ConditioningCache(),
    FreeU(),
    VaeTiling(16),
    VaeTiling(16, spill=True),
    VaeSlicing(),
    ComponentFusion(),
    ComponentFreeU(),
    ComponentTiling(),
    ComponentSlicing(),
)

CASES = tuple(
    module.CASES[0]
    for module in (
        stable_diffusion,
        z_image,
        wan,
        stable_diffusion_xl,
        flux,
        stable_diffusion_3,
        sana,
        qwen,
        ltx,
    )
)
NEVER_CAST = ("ZImagePipeline", "WanPipeline", "QwenImagePipeline", "SanaPipeline")
"""Their code casts to the dtype in which a layer's weights are stored."""


class Disturbance(RunListener[Run]):
    """Does something after one of the steps of a run.

    Args:
        place: after how many steps.
        disturb: what it does.
    """

    def __init__(self, place: int, disturb: Callable[[], None]) -> None:
        self._place, self._disturb = place, disturb

    def between_steps(self, run: Run) -> None:
        """Wait for its time."""
        self._place -= 1
        if self._place == 0:
            self._disturb()


class Walk:
    """A pipeline that is switched, drawn with, disturbed and detached at random.

    Args:
        case: makes the pipeline.
        seed: of all that is random.

    Attributes:
        switches: how many have taken place.
    """

    def __init__(self, case: ForeignCase, seed: int) -> None:
        self.random, self.case, self.switches = Random(seed), case, 0
        self.pipe, spare = case.build(), case.build()
        self.samples = [s for s in SAMPLES if not self._is_refused_by_code(s)]
        self.plain = case.draw(self.pipe)
        own = self._traces()
        assert torch.equal(case.draw(self.pipe), self.plain)
        self.lasting = {key: value for key, value in self._traces().items() if own[key] == value}
        self.spares = {
            name: (part, spare.components[name])
            for name, part in self.pipe.components.items()
            if isinstance(part, nn.Module)
        }
        self.studio: AttachedPipeline = dpnb.attach(self.pipe)
        self.twin: AttachedPipeline | None = None

    def take(self, steps: int) -> None:
        """Do so many things, and stop."""
        actions = (
            *[self.enable] * 5,
            self.disable,
            self.use,
            self.draw,
            self.switch_within_a_run,
            self.fail_in_a_run,
            self.fail_in_a_network,
            self.interrupt_a_run,
            self.leave_a_stream,
            self.replace_a_component,
            self.meet_a_twin,
            self.detach_and_attach,
        )
        for _ in range(steps):
            self.random.choice(actions)()
        self.stop()

    # --- switching ---

    def enable(self) -> None:
        """One comes on, or nothing changes and a sentence says why."""
        self._switch(self.random.choice(self.samples))

    def _switch(self, strategy: Strategy) -> None:
        stacks = [one.strategies for one in (self.studio, self.twin) if one is not None]
        stack = self.random.choice(stacks)
        before = stack.active
        self.switches += 1
        try:
            stack.enable(strategy)
        except StrategyError:
            assert stack.active == before
        else:
            assert strategy in stack.active

    def disable(self) -> None:
        """One goes off, or all of them."""
        self.switches += 1
        on = sorted(self.studio.strategies.active, key=repr)
        if on and self.random.random() < 0.8:
            self.studio.strategies.disable(type(self.random.choice(on)))
        else:
            self.studio.strategies.use(())

    def use(self) -> None:
        """Several at once, or nothing changes."""
        self.switches += 1
        before = self.studio.strategies.active
        chosen = {one.slot: one for one in self.random.sample(self.samples, 4)}
        try:
            self.studio.strategies.use(chosen.values())
        except StrategyError:
            assert self.studio.strategies.active == before

    # --- runs ---

    def draw(self) -> None:
        """A picture; the plain one where nothing is on that may change it."""
        drawn = self.case.draw(self.pipe)
        assert drawn.isfinite().all()
        if self.studio.strategies.active <= set(PLACEMENTS):
            assert torch.equal(drawn, self.plain)

    def switch_within_a_run(self) -> None:
        """A switch lands between two steps."""
        strategy = self.random.choice(self.samples)
        self._disturb(lambda: self._switch(strategy))

    def fail_in_a_run(self) -> None:
        """A listener raises something, or is interrupted."""
        error = self.random.choice((ValueError, KeyboardInterrupt))

        def fail() -> None:
            raise error("on purpose")

        with pytest.raises(error, match="on purpose"):
            self._disturb(fail)

    def interrupt_a_run(self) -> None:
        """The run is told to end, and does so in its own way."""
        try:
            self._disturb(self.studio.interrupt_run)
        except dpnb.InterruptedRunError:
            assert not self.studio.ends_early

    def _disturb(self, disturb: Callable[[], None]) -> None:
        stop = self.studio.watch(Disturbance(self.random.choice((1, 2)), disturb))
        try:
            self.case.draw(self.pipe)
        finally:
            stop()

    def fail_in_a_network(self) -> None:
        """A layer of a network that takes part in the run raises something."""
        _, network = self.random.choice(self._denoisers())
        layer = self.random.choice(list(network.modules()))

        def fail(*_: object) -> None:
            raise ArithmeticError("on purpose")

        hook = layer.register_forward_pre_hook(fail)
        try:
            self.case.draw(self.pipe)
        except ArithmeticError:
            pass  # a layer that no run uses raises nothing
        finally:
            hook.remove()

    def leave_a_stream(self) -> None:
        """A stream is closed before its end; switches lie between its steps."""
        stream = self.studio.stream(**self.case.arguments())
        for _ in range(self.random.randint(1, 3)):
            next(stream)
            self.enable()
        stream.close()  # type: ignore[attr-defined]
        assert not self.studio.strategies.is_running

    # --- what it is made of ---

    def _denoisers(self) -> list[tuple[str, nn.Module]]:
        parts = self.pipe.components
        return [(name, parts[name]) for name in ("unet", "transformer") if parts.get(name)]

    def replace_a_component(self) -> None:
        """Another network of the same weights comes, or the former one comes back."""
        name = self.random.choice(sorted(self.spares))
        former, spare = self.spares[name]
        self.switches += 1
        is_former = vars(self.pipe)[name] is former
        setattr(self.pipe, name, spare if is_former else former)

    def meet_a_twin(self) -> None:
        """A second pipeline over the same components is attached, or leaves."""
        if self.twin is None:
            self.twin = dpnb.attach(copy.copy(self.pipe))
            assert self.twin.strategies.active == self.studio.strategies.active
        else:
            self.twin.detach()
            self.twin = None

    def detach_and_attach(self) -> None:
        """The instrument goes, with all that is on unless the twin needs it, and comes back."""
        self.switches += 1
        self.studio.detach()
        self.studio = dpnb.attach(self.pipe)

    def stop(self) -> None:
        """With nothing on and nobody attached, everything is as it was."""
        if self.twin is not None:
            self.twin.detach()
            self.twin = None
        self.studio.strategies.use(())
        for name, (former, _) in self.spares.items():
            setattr(self.pipe, name, former)
        assert torch.equal(self.case.draw(self.pipe), self.plain)
        self.studio.detach()
        assert torch.equal(self.case.draw(self.pipe), self.plain)
        now = self._traces()
        assert {key: now.get(key) for key in self.lasting} == self.lasting
        self.studio = dpnb.attach(self.pipe)

    def _traces(self) -> dict[str, Any]:
        """Every attribute of every part of the pipeline, and the names of its own."""
        found = everything_of(self.pipe)
        kept = {key: value for key, value in found.items() if not key.startswith(".")}
        return {**kept, "names": set(found)}

    def _is_refused_by_code(self, strategy: Strategy) -> bool:
        return isinstance(strategy, LayerwiseCasting) and self.case.name in NEVER_CAST


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_short_walk_leaves_no_trace(case: ForeignCase) -> None:
    walk = Walk(case, seed=1)
    for _ in range(2):
        walk.take(12)
    assert walk.switches >= 12


@pytest.mark.slow
@pytest.mark.parametrize("case", share_of(CASES), ids=lambda case: case.name)
def test_a_long_walk_leaves_no_trace(case: ForeignCase) -> None:
    walk = Walk(case, seed=2)
    for _ in range(6):
        walk.take(14)
    assert walk.switches >= 40
