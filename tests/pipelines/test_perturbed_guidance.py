"""Perturbed-attention guidance that a pipeline holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.pipelines.perturbed_guidance import PerturbedAttentionGuidance
from dpnb.pipelines.stable_diffusion_pag import StableDiffusionPAGPipeline
from tests.pipelines.derived import draw
from tests.strategies.pipes import build


def held(guidance: PerturbedAttentionGuidance, **given: Any) -> torch.Tensor:
    pipe = build("tiny-sd")
    pipe.guidance = guidance
    drawn: torch.Tensor = draw(pipe, **given)
    return drawn


@pytest.mark.parametrize(
    ("scale", "adaptive", "timestep", "expected"),
    [(3, 0, 10, 3), (3, 0.01, 1000, 3), (3, 0.01, 900, 2), (3, 0.01, 100, 0)],
)
def test_its_scale_falls(scale: float, adaptive: float, timestep: float, expected: float) -> None:
    assert PerturbedAttentionGuidance(scale, adaptive).scale_at(timestep) == pytest.approx(expected)


def test_a_pipeline_holds_it_as_the_class_with_this_guidance_does() -> None:
    pipe: Any = StableDiffusionPAGPipeline.from_pipe(build("tiny-sd"), pag_applied_layers=["up"])
    asked = draw(pipe, pag_scale=2.0, pag_adaptive_scale=0.001, guidance_rescale=0.5)
    guidance = PerturbedAttentionGuidance(2.0, 0.001, ("up",))
    assert torch.equal(held(guidance, guidance_rescale=0.5), asked)


def test_without_a_scale_it_does_nothing() -> None:
    assert torch.equal(held(PerturbedAttentionGuidance(0.0)), draw(build("tiny-sd")))


def test_the_perturbed_call_sees_the_prompt_alone() -> None:
    pipe, sizes = build("tiny-sd"), list[int]()
    pipe.guidance = PerturbedAttentionGuidance()
    pipe.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    draw(pipe, num_inference_steps=2)
    assert sizes == [2, 1, 2, 1]


def test_streamed_and_planned_it_is_the_same() -> None:
    plain = held(PerturbedAttentionGuidance())
    pipe = build("tiny-sd")
    pipe.guidance = PerturbedAttentionGuidance()
    pipe.strategies.use([dpnb.SequentialOffload(device="simulated:64GiB/s"), dpnb.QKVFusion()])
    torch.testing.assert_close(draw(pipe), plain)
