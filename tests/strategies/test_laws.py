"""What holds for every strategy of the catalog, on every kind of pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations, permutations
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from dpnb.errors import StrategyError
from dpnb.strategies.catalog import CATALOG, COMPONENT_SWITCHES
from dpnb.strategies.component_switches import ComponentTiling
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.guidance_interval import GuidanceInterval
from dpnb.strategies.plans import plan_from_json, plan_to_json, plan_to_python
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.strategy import Effect, Strategy, in_order
from dpnb.strategies.undo import Undo
from tests.strategies.pipes import (
    ONE_EACH,
    SAMPLES,
    SAMPLES_OF,
    TINY,
    build,
    draw,
    is_consistent,
    live_bytes,
    values,
)
from tests.strategies.subjects import (
    ATTACHED_SAMPLES,
    FOREIGN,
    IGNORED,
    IN_FULL,
    OWN,
    SUBJECTS,
    cases_for,
    differences,
    draw_of,
    picture_of,
    pipe_of,
    traces_of,
)

pytestmark = [pytest.mark.exhaustive, *IGNORED]

OWN_CASES = [(name, sample) for name, subject in OWN.items() for sample in subject.samples]
ALL_SAMPLES = list(dict.fromkeys((*SAMPLES, *ATTACHED_SAMPLES)))
# All weights on the disk are many files, which take long to write; some are enough in pairs.
PAIRED = [sample for sample in SAMPLES if sample != DeviceMap("disk")]
PAIRS = Random(0).sample(
    [
        pair
        for pair in combinations(PAIRED, 2)
        if pair[0].slot != pair[1].slot and is_consistent(pair)
    ],
    100,
)
"""About one in five of all."""


def on_all(law: str, in_full: tuple[str, ...] = IN_FULL) -> pytest.MarkDecorator:
    """For dpnb's own pipelines with every strategy, and foreign ones as a law takes them."""
    cases = OWN_CASES + cases_for(law, in_full)
    return pytest.mark.parametrize(("name", "strategy"), cases, ids=repr)


@pytest.fixture
def pipe(name: str) -> Iterator[Any]:
    pipe = pipe_of(name)
    picture_of(name)  # while nothing is on
    traces_of(name)
    yield pipe
    pipe.strategies.use([])


def test_the_samples_are_of_every_strategy() -> None:
    assert {type(sample) for sample in SAMPLES} == set(CATALOG)


def test_what_is_left_out_of_a_pipeline_cannot_serve_there() -> None:
    for name, samples in SAMPLES_OF.items():
        for kind in set(CATALOG) - {type(sample) for sample in samples} - {GuidanceInterval}:
            sentence = pipe_of(name).strategies.obstacle(kind())
            assert sentence is not None
            assert sentence.endswith("there is none here.")


@pytest.mark.exhaustive(fast=8)
@on_all("undone_is_undone")
def test_undone_is_undone(strategy: Strategy, name: str, pipe: Any) -> None:
    before, known, seed = traces_of(name), values(pipe), torch.get_rng_state()
    pipe.strategies.enable(strategy)
    assert traces_of(name) != before or differ(values(pipe), known)
    draw_of(name)
    pipe.strategies.disable(type(strategy))
    assert not differences(traces_of(name), before)
    assert not differ(values(pipe), known)
    assert torch.equal(torch.get_rng_state(), seed)
    assert torch.equal(draw_of(name), picture_of(name))


def differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether weights have other names, another order or other values."""
    return list(one) != list(other) or not all(torch.equal(one[key], other[key]) for key in one)


@on_all("twice_is_once", in_full=IN_FULL[:1])
def test_twice_is_once(strategy: Strategy, name: str, pipe: Any) -> None:
    heard: list[Any] = []
    stop = pipe.strategies.subscribe(heard.append)
    pipe.strategies.enable(strategy)
    once = traces_of(name)
    pipe.strategies.enable(strategy)
    stop()
    assert traces_of(name) == once
    assert heard == [{strategy}]


@on_all("an_exact_one_keeps_the_picture")
def test_an_exact_one_keeps_the_picture(strategy: Strategy, name: str, pipe: Any) -> None:
    pipe.strategies.enable(strategy)
    off = (draw_of(name) - picture_of(name)).abs()
    difference = off.max().item()
    match strategy.effect:
        case Effect.EXACT:
            assert difference <= 1e-5
        case Effect.APPROXIMATE:
            assert (difference > 0) == (strategy != ComponentTiling()), "smaller than a tile"
            # tiles of a few latents, which do not know of one another; random networks, which say
            # something else in every step; a random autoencoder, held by its own tests alone
            rough = {ComponentTiling: 0.1, StepCache: 0.15}
            assert strategy == TINY or off.mean() <= rough.get(type(strategy), 0.05)
        case Effect.STYLISTIC:
            assert difference > 1e-3


@pytest.mark.parametrize("pair", PAIRS, ids=repr)
def test_order_does_not_matter(pair: tuple[Strategy, Strategy]) -> None:
    pipe = pipe_of("tiny-sdxl")
    pictures = []
    for order in permutations(pair):
        for strategy in order:
            pipe.strategies.enable(strategy)
        assert pipe.strategies.active == frozenset(pair)
        pictures.append(draw_of("tiny-sdxl"))
        for strategy in order:
            pipe.strategies.disable(type(strategy))
    assert torch.equal(*pictures)
    if all(strategy.effect is Effect.EXACT for strategy in pair):
        assert (pictures[0] - picture_of("tiny-sdxl")).abs().max() <= 1e-5


@on_all("failing_leaves_no_trace")
def test_failing_leaves_no_trace(
    strategy: Strategy, name: str, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails after each of its edits in turn."""
    before, plan = traces_of(name), pipe.strategies.active
    with monkeypatch.context() as patch:
        edits = count_edits(patch)
        pipe.strategies.enable(strategy)
    pipe.strategies.use([])
    for last in {1, len(edits) // 2 or 1, len(edits)}:
        with monkeypatch.context() as patch:
            count_edits(patch, last)
            with pytest.raises(ZeroDivisionError):
                pipe.strategies.enable(strategy)
        assert not differences(traces_of(name), before)
        assert pipe.strategies.active == plan
    assert torch.equal(draw_of(name), picture_of(name))


def count_edits(patch: pytest.MonkeyPatch, last: int | None = None) -> list[Any]:
    """The edits that are made from now on; one fails when so many have been announced."""
    edits: list[Any] = []
    callback = Undo.callback

    def announce(undo: Undo, /, function: Any, *args: Any, **kwargs: Any) -> Any:
        made = callback(undo, function, *args, **kwargs)
        edits.append(function)
        if len(edits) == last:
            raise ZeroDivisionError
        return made

    patch.setattr(Undo, "callback", announce)
    return edits


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ONE_EACH, ids=repr)
def test_memory_after_undo_equals_memory_before(strategy: Strategy) -> None:
    pipe = build()
    draw(pipe)
    before = live_bytes()
    for _ in range(2):
        pipe.strategies.enable(strategy)
        draw(pipe)
        pipe.strategies.use([])
    assert live_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-flux", *FOREIGN])
def test_memory_after_many_undos_equals_memory_before(name: str) -> None:
    subject = SUBJECTS[name]
    pipe = subject.build()
    # A buffer that is a view holds the tensor that it was made of, also when it has gone elsewhere.
    with pipe.strategies.using(subject.samples[0]):
        subject.draw(pipe)
    before = live_bytes()
    for strategy in subject.samples:
        with pipe.strategies.using(strategy):
            subject.draw(pipe)
    assert live_bytes() == before


@pytest.mark.parametrize("strategy", ALL_SAMPLES, ids=repr)
def test_it_survives_json(strategy: Strategy) -> None:
    text = json.dumps(plan_to_json([strategy]))
    assert plan_from_json(json.loads(text)) == {strategy}


@on_all("it_prints_as_the_python_that_makes_it", in_full=())
def test_it_prints_as_the_python_that_makes_it(strategy: Strategy, name: str, pipe: Any) -> None:
    exec(plan_to_python([strategy], is_attached=name in FOREIGN), {"pipe": pipe})
    assert pipe.strategies.active == {strategy}


@pytest.mark.parametrize("strategy", ALL_SAMPLES, ids=repr)
def test_an_obstacle_is_none_or_a_sentence(strategy: Strategy) -> None:
    class Empty:
        offload_sequence = never_offloaded = ()

        def parts(self) -> dict[str, Any]:
            return {}

    empty = Empty()
    stack = StrategyStack(empty)
    sentence = stack.obstacle(strategy)
    assert sentence is not None
    assert sentence.endswith(".")
    with pytest.raises(StrategyError) as caught:
        stack.enable(strategy)
    assert str(caught.value) == sentence
    assert stack.active == frozenset()


@pytest.mark.parametrize("kind", CATALOG + COMPONENT_SWITCHES, ids=lambda kind: kind.__name__)
def test_it_is_described_in_one_line(kind: type[Strategy]) -> None:
    summary = kind.summary()
    assert summary.endswith(".")
    assert len(summary) <= 100


def test_order_is_that_of_the_slots() -> None:
    slots = [strategy.slot for strategy in in_order(SAMPLES)]
    assert slots == sorted(slots)
