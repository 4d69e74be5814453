"""What holds for every strategy on other kinds of pipelines."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from dpnb.stages import Stage
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.strategy import Effect, Strategy
from dpnb.strategies.vae import VaeTiling
from tests.strategies.pipes import SAMPLES, TINY, build, draw, samples_for, traces

pytestmark = pytest.mark.exhaustive

KINDS = ("inpaint", "sag", "tiny-ldm")

SETTINGS: dict[str, dict[str, Any]] = {
    "inpaint": {"strength": 1.0},
    "sag": {},
    "tiny-ldm": {"guidance_scale": 3.0},
}

QUICK: list[Strategy] = [
    *{type(strategy): strategy for strategy in SAMPLES}.values(),
    VaeTiling(1, spill=True),
    QKVFusion(),
]


@cache
def pipe_of(kind: str) -> tuple[Any, Tensor]:
    """A pipeline, and what it draws with nothing switched on."""
    pipe = build(kind)
    return pipe, draw(pipe, **SETTINGS[kind])


@pytest.mark.parametrize("strategy", QUICK, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_its_promise_and_is_undone(kind: str, strategy: Strategy) -> None:
    pipe, plain = pipe_of(kind)
    if kind == "sag" and strategy not in samples_for(kind):
        assert "there is none here" in str(pipe.strategies.obstacle(strategy))
        return
    before = traces(pipe)
    with pipe.strategies.using(strategy):
        assert pipe.strategies.active == {strategy}
        differences = (draw(pipe, **SETTINGS[kind]) - plain).abs()
    assert traces(pipe) == before
    match strategy.effect:
        case Effect.EXACT:
            assert differences.max() <= 1e-5
        case Effect.APPROXIMATE:
            # What a random autoencoder decodes is like nothing: see its own tests.
            assert differences.mean() > 0
            assert strategy == TINY or differences.mean() <= 0.1
        case Effect.STYLISTIC:
            assert differences.max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_undone_is_undone(kind: str) -> None:
    pipe, plain = pipe_of(kind)
    assert torch.equal(draw(pipe, **SETTINGS[kind]), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_at_once_may_come_between_two_steps(kind: str) -> None:
    pipe, plain = pipe_of(kind)
    exact = [s for s in QUICK if s.effect is Effect.EXACT]
    plan = {strategy.slot: strategy for strategy in exact}.values()
    generator = torch.Generator().manual_seed(0)
    pictures = {one.argument: one.example(32, 32) for one in pipe.picture_inputs}
    asked = {"generator": generator, "num_inference_steps": 2, "output_type": "np"}
    for step in pipe.stream("a red fox", **asked, **pictures, **SETTINGS[kind]):
        if step.stage is Stage.DENOISING:
            pipe.strategies.use([] if step.index else plan)
    assert (torch.from_numpy(step.output.images) - plain).abs().max() <= 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", [ModelOffload("cuda"), SequentialOffload("3MiB", "cuda")])
@pytest.mark.parametrize("kind", KINDS)
def test_offloading_on_a_cuda_device_keeps_the_picture(kind: str, strategy: Strategy) -> None:
    pipe = build(kind).to("cuda")
    plain, before = draw(pipe, **SETTINGS[kind]), traces(pipe)
    with pipe.strategies.using(strategy):
        torch.testing.assert_close(draw(pipe, **SETTINGS[kind]), plain, rtol=0, atol=1e-3)
    assert traces(pipe) == before
