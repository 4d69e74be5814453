"""A new guidance is one class, and a pipeline that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.pipelines.denoise import guide
from dpnb.pipelines.guidance import ClassifierFreeGuidance, Guidance, GuidedPipeline
from tests.strategies.pipes import build, draw


@dataclass(frozen=True)
class EarlyGuidance(Guidance[GuidedPipeline]):
    """Guidance while a timestep is above a limit (Kynkäänniemi et al. 2024, arXiv:2404.07724)."""

    limit: float
    inner: ClassifierFreeGuidance = field(default_factory=ClassifierFreeGuidance)

    def predict(
        self, pipe: GuidedPipeline, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        if float(t) > self.limit:
            return self.inner.predict(pipe, latents, t, tensors)
        return pipe.predict_noise(pipe.scheduler.scale_model_input(latents, t), t, tensors)


class EarlyPipeline(dpnb.StableDiffusionPipeline):
    """Is steered so."""

    guidance = EarlyGuidance(500.0)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return build("tiny-sd")


def entries(pipe: Any) -> list[int]:
    """How many latents the network sees in each step of a run."""
    seen: list[int] = []
    hook = pipe.unet.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    draw(pipe, 4)
    hook.remove()
    return seen


def test_a_new_one_decides_what_the_network_is_shown(pipe: Any) -> None:
    early = EarlyPipeline.from_pipe(pipe)
    early.set_progress_bar_config(disable=True)
    assert entries(pipe) == [2, 2, 2, 2]
    assert entries(early) == [2, 2, 1, 1]


def test_guidance_without_bounds_is_the_usual_one(pipe: Any) -> None:
    early = EarlyPipeline.from_pipe(pipe)
    early.set_progress_bar_config(disable=True)
    early.guidance = EarlyGuidance(-1.0)
    assert torch.equal(draw(early), draw(pipe))


def test_classifier_free_guidance_leads_away_from_no_prompt(pipe: Any) -> None:
    pipe("a cat", num_inference_steps=1, guidance_scale=3.0, output_type="latent")
    usual, pair = ClassifierFreeGuidance(), torch.randn(4, 4, 8, 8)
    expected = pair[:2] + 3.0 * (pair[2:] - pair[:2])
    assert torch.allclose(usual.combine(pipe, pair), expected, atol=1e-5)
    assert torch.equal(usual.combine(pipe, pair), guide(pair, 3.0))
    pipe("a cat", num_inference_steps=1, guidance_scale=1.0, output_type="latent")
    assert usual.combine(pipe, pair) is pair
