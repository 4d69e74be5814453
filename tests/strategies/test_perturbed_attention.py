"""Perturbed-attention guidance that is switched on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import StrategyError
from dpnb.pipelines.guidance import ClassifierFreeGuidance
from dpnb.pipelines.perturbed_guidance import PerturbedAttentionGuidance
from tests.pipelines.derived import draw
from tests.strategies.pipes import build

SWITCH = dpnb.PerturbedAttention(2.0, 0.001, ("mid",))


def test_it_steers_as_the_guidance_does_and_leaves_no_trace() -> None:
    pipe = build("tiny-sd")
    plain = draw(pipe)
    with pipe.strategies.using(SWITCH):
        steered = draw(pipe)
    assert "guidance" not in vars(pipe)
    assert torch.equal(draw(pipe), plain)
    pipe.guidance = PerturbedAttentionGuidance(2.0, 0.001)
    assert torch.equal(draw(pipe), steered)


def test_a_guidance_of_ones_own_comes_back() -> None:
    pipe, own = build("tiny-sd"), ClassifierFreeGuidance()
    pipe.guidance = own
    with pipe.strategies.using(SWITCH):
        assert pipe.guidance.inner is own
    assert pipe.guidance is own


def test_every_pipeline_of_the_network_is_steered_also_one_that_comes_later() -> None:
    pipe = build("tiny-sd")
    pipe.strategies.enable(SWITCH)
    edit: Any = dpnb.StableDiffusionImg2ImgPipeline.from_pipe(pipe)
    steered = draw(edit)
    pipe.strategies.disable(dpnb.PerturbedAttention)
    assert "guidance" not in vars(edit)
    assert not torch.equal(draw(edit), steered)


def test_in_the_middle_of_a_run() -> None:
    pipe, sizes = build("tiny-sd"), list[int]()
    pipe.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))

    def switch(_: Any, index: int, *__: Any) -> dict[str, Any]:
        change = {0: lambda: pipe.strategies.enable(SWITCH), 1: lambda: pipe.strategies.use([])}
        change.get(index, lambda: None)()
        return {}

    draw(pipe, num_inference_steps=3, callback_on_step_end=switch)
    assert sizes == [2, 2, 1, 2]


@pytest.mark.parametrize("kind", ["StableDiffusionSAGPipeline", "StableDiffusionPAGPipeline"])
def test_where_another_guidance_steers_it_is_refused(kind: str) -> None:
    pipe: Any = getattr(dpnb, kind).from_pipe(build("tiny-sd"))
    with pytest.raises(StrategyError, match="there is none here"):
        pipe.strategies.enable(SWITCH)


def test_what_cannot_be_is_refused() -> None:
    flux, pipe = build("tiny-flux"), build("tiny-sd")
    with pytest.raises(StrategyError, match="needs a pipeline of dpnb's with a UNet"):
        flux.strategies.enable(SWITCH)
    with pytest.raises(StrategyError, match="'middle'; it has some in"):
        pipe.strategies.enable(dpnb.PerturbedAttention(layers=("middle",)))
    with pytest.raises(ValueError, match="scale"):
        dpnb.PerturbedAttention(-1)
