"""What holds for every strategy on attached pipelines beside the laws of all pipelines."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache, partial
from itertools import combinations, permutations
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

import dpnb
from dpnb.errors import StrategyError
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener
from dpnb.stages import Stage, Step
from dpnb.strategies.catalog import CATALOG, COMPONENT_SWITCHES, catalog_for
from dpnb.strategies.lora import LoRA
from dpnb.strategies.plans import plan_from_json, plan_to_json
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Effect, Strategy
from tests.pipelines.attached.foreign import everything_of
from tests.strategies.subjects import (
    FOREIGN,
    IGNORED,
    case_of,
    cases_for,
    differences,
    draw_of,
    picture_of,
    pipe_of,
    sample_of,
    traces_of,
)

pytestmark = [pytest.mark.exhaustive, *IGNORED]

SENTENCE = re.compile(r"[A-Z].*[^.]\.")
ON_KINDS = pytest.mark.parametrize("name", FOREIGN)


def spread_pairs(count: int) -> list[tuple[str, Strategy, Strategy]]:
    """Two strategies that one pipeline can have on, on one pipeline after the other."""
    held: dict[frozenset[type], list[tuple[str, Strategy, Strategy]]] = {}
    for name, subject in FOREIGN.items():
        for one, other in combinations(subject.samples, 2):
            if one.slot != other.slot:
                pair = frozenset((type(one), type(other)))
                held.setdefault(pair, []).append((name, one, other))
    spread = [places[place % len(places)] for place, places in enumerate(held.values())]
    return Random(count).sample(spread, count)


@cache
def plans_of(name: str) -> tuple[list[Strategy], list[Strategy]]:
    """Two plans of several strategies, chosen at random."""
    random, plans = Random(name), []
    for _ in range(2):
        chosen: list[Strategy] = []
        for sample in random.sample(FOREIGN[name].samples, 5):
            try:
                pipe_of(name).strategies.use([*chosen, sample])
            except StrategyError:
                continue  # another of its slot is there, or one that it cannot be with
            chosen.append(sample)
        plans.append(chosen)
    pipe_of(name).strategies.use([])
    return plans[0], plans[1]


class BetweenSteps(RunListener[Run]):
    """Does something after a step of denoising.

    Args:
        do: what it does.
        after: how many steps come before.

    Attributes:
        latents: those of every step.
    """

    def __init__(self, do: Callable[[], object], after: int = 1) -> None:
        self._do, self._after = do, after
        self.latents: list[Tensor] = []

    @override
    def end_step(self, run: Run, step: Step) -> None:
        if step.stage is Stage.DENOISING and step.latents is not None:
            self.latents.append(step.latents.detach().clone())

    @override
    def between_steps(self, run: Run) -> None:
        if len(self.latents) == self._after:
            self._after = -1
            self._do()


def listen(name: str, listener: BetweenSteps) -> Tensor:
    """What is drawn while somebody listens."""
    stop = pipe_of(name).watch(listener)
    try:
        return draw_of(name)
    finally:
        stop()


@pytest.fixture
def stack(name: str) -> Iterator[Any]:
    picture_of(name)
    traces_of(name)  # while nothing is on
    stack = pipe_of(name).strategies
    yield stack
    stack.use([])


# --- what may be on ---


@ON_KINDS
def test_what_has_no_obstacle_serves_and_all_else_says_why(name: str, stack: Any) -> None:
    before, served = traces_of(name), {type(sample) for sample in FOREIGN[name].samples}
    assert catalog_for(stack.networks) == CATALOG + COMPONENT_SWITCHES
    for kind in CATALOG + COMPONENT_SWITCHES:
        sample = sample_of(kind, name)
        reason = stack.obstacle(sample)
        assert (reason is None) == (kind in served), reason
        if reason is not None:
            assert SENTENCE.fullmatch(reason)
            with pytest.raises(StrategyError) as caught:
                stack.enable(sample)
            assert str(caught.value) == reason
            assert stack.active == frozenset()
    assert not differences(traces_of(name), before)


@pytest.mark.parametrize(("name", "one", "other"), spread_pairs(24), ids=repr)
def test_order_does_not_matter(name: str, one: Strategy, other: Strategy, stack: Any) -> None:
    """Two that cannot be on together refuse each other in both orders."""
    before, pictures, refused = traces_of(name), [], []
    for first, second in permutations((one, other)):
        stack.enable(first)
        try:
            stack.enable(second)
        except StrategyError as error:
            refused.append(str(error))
            assert stack.active == {first}
        else:
            assert stack.active == {first, second}
            pictures.append(draw_of(name))
        stack.disable(type(first))
        stack.disable(type(second))
        assert not differences(traces_of(name), before)
    assert len(refused) in (0, 2)
    if pictures:
        assert torch.equal(*pictures)
        if {one.effect, other.effect} == {Effect.EXACT}:
            assert (pictures[0] - picture_of(name)).abs().max() <= 1e-5


@ON_KINDS
def test_a_plan_replaces_the_former_and_survives_json(name: str, stack: Any) -> None:
    before, (one, other) = traces_of(name), plans_of(name)
    stack.use(one)
    expected = draw_of(name)
    stack.use(other)
    assert stack.active == frozenset(other)
    draw_of(name)
    stack.use(plan_from_json(json.loads(json.dumps(plan_to_json(one)))))
    assert stack.active == frozenset(one)
    assert torch.equal(draw_of(name), expected)
    for strategy in Random(1).sample(one, len(one)):
        stack.disable(type(strategy))
    assert not differences(traces_of(name), before)
    assert torch.equal(draw_of(name), picture_of(name))


@ON_KINDS
def test_what_is_on_for_a_while_gives_way_again(name: str, stack: Any) -> None:
    before, (one, other) = traces_of(name), plans_of(name)
    stack.use(one)
    expected = draw_of(name)
    with pytest.raises(ZeroDivisionError):
        raise_within(stack.using(*other), lambda: stack.active == frozenset(other))
    assert stack.active == frozenset(one)
    with pytest.raises(ZeroDivisionError):
        raise_within(stack.suspended(), lambda: not differences(traces_of(name), before))
    assert stack.active == frozenset(one)
    assert torch.equal(draw_of(name), expected)


def raise_within(context: AbstractContextManager[object], is_well: Callable[[], bool]) -> None:
    with context:
        assert is_well()
        raise ZeroDivisionError


# --- runs ---


@pytest.mark.parametrize(("name", "strategy"), cases_for("a_run_that_fails_with"), ids=repr)
def test_a_run_that_fails_with_it_on_leaves_no_trace(
    name: str, strategy: Strategy, stack: Any
) -> None:
    before = traces_of(name)
    stack.enable(strategy)
    expected = draw_of(name)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error, match="on purpose"):
            listen(name, BetweenSteps(partial(fail, error)))
    fail_within(name)
    assert not stack.is_running
    assert stack.active == {strategy}
    assert torch.equal(draw_of(name), expected)
    stack.disable(type(strategy))
    assert not differences(traces_of(name), before)
    assert torch.equal(draw_of(name), picture_of(name))


def fail(error: type[BaseException]) -> None:
    raise error("on purpose")


def fail_within(name: str) -> None:
    """The last layer of a network fails that takes part in every step."""
    parts = pipe_of(name).parts()
    network = next(parts[key] for key in ("unet", "transformer", "decoder") if key in parts)
    layer = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    hook = layer.register_forward_pre_hook(lambda *_: fail(ArithmeticError))
    try:
        with pytest.raises(ArithmeticError, match="on purpose"):
            draw_of(name)
    finally:
        hook.remove()


@ON_KINDS
def test_an_interrupted_run_leaves_all_well(name: str, stack: Any) -> None:
    (plan, _), pipe = plans_of(name), pipe_of(name)
    before = traces_of(name)
    stack.use(plan)
    expected = draw_of(name)
    try:
        listen(name, BetweenSteps(pipe.interrupt_run))
    except dpnb.InterruptedRunError:
        assert not pipe.ends_early
    assert torch.equal(draw_of(name), expected)
    stack.use([])
    assert not differences(traces_of(name), before)
    assert torch.equal(draw_of(name), picture_of(name))


@pytest.mark.parametrize(("name", "strategy"), cases_for("switched_within_a_run"), ids=repr)
def test_switched_within_a_run_it_acts_from_the_next_step_on(
    name: str, strategy: Strategy, stack: Any
) -> None:
    plain, listener = BetweenSteps(lambda: None), BetweenSteps(lambda: stack.enable(strategy))
    before = traces_of(name)
    listen(name, plain)
    drawn = listen(name, listener)
    assert stack.active == {strategy}
    assert torch.equal(listener.latents[0], plain.latents[0])
    if strategy.effect is Effect.EXACT:
        assert (drawn - picture_of(name)).abs().max() <= 1e-5
    elif strategy.effect is Effect.STYLISTIC or isinstance(strategy, LayerwiseCasting):
        assert not torch.equal(listener.latents[1], plain.latents[1])
    listen(name, BetweenSteps(lambda: stack.use([])))
    assert not differences(traces_of(name), before)
    assert torch.equal(draw_of(name), picture_of(name))


# --- attached and not ---


@ON_KINDS
def test_detaching_undoes_what_is_on(name: str) -> None:
    case, (plan, _) = case_of(name), plans_of(name)
    pipe = case.build()
    case.draw(pipe)
    before, plain = everything_of(pipe), case.draw(pipe)
    passing = differences(before, everything_of(pipe))
    studio = dpnb.attach(pipe)
    studio.strategies.use([one for one in plan if not isinstance(one, LoRA)])
    case.draw(pipe)
    studio.detach()
    assert differences(before, everything_of(pipe)) <= passing
    assert torch.equal(case.draw(pipe), plain)


@ON_KINDS
def test_two_that_share_networks_agree(name: str, stack: Any) -> None:
    before, (plan, _) = traces_of(name), plans_of(name)
    twin = dpnb.attach(copy.copy(pipe_of(name).pipe))
    for strategy in plan:
        twin.strategies.enable(strategy)
        assert stack.active == twin.strategies.active
    assert stack.active == frozenset(plan)
    assert torch.equal(FOREIGN[name].draw(twin), draw_of(name))
    stack.disable(type(plan[0]))
    assert twin.strategies.active == frozenset(plan[1:])
    twin.detach()
    assert stack.active == frozenset(plan[1:])
    stack.use([])
    assert torch.equal(draw_of(name), picture_of(name))
    assert not differences(traces_of(name), before)
