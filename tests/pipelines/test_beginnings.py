"""A new beginning is one class, and a pipeline that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.pipelines.beginnings import Beginning, FromNoise
from dpnb.pipelines.image_to_image import FromPicture, StrengthStart
from dpnb.pipelines.inpainting import FromMaskedPicture
from dpnb.pipelines.protocols import LatentPipeline
from dpnb.pipelines.stable_diffusion import StableDiffusionArguments
from dpnb.pipelines.stable_diffusion_xl_edit import HandoverStart
from tests.strategies.pipes import build

SHORT = {"num_inference_steps": 4, "output_type": "latent"}


@dataclass(frozen=True)
class FromGrey(FromNoise[StableDiffusionArguments]):
    """A run begins with nothing at all, in the second half of the schedule, and stays dim."""

    limit: float = 0.5

    def find_start_index(
        self,
        pipe: LatentPipeline[StableDiffusionArguments],
        timesteps: Tensor,
        count: int,
        arguments: StableDiffusionArguments,
    ) -> int:
        return len(timesteps) // 2

    def make_tensors(
        self,
        pipe: LatentPipeline[StableDiffusionArguments],
        arguments: StableDiffusionArguments,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        noise = pipe.sample_noise(arguments, pipe.network_channels, device, like)
        return {"latents": torch.zeros_like(noise)}

    def after_step(
        self,
        pipe: LatentPipeline[StableDiffusionArguments],
        latents: Tensor,
        following: Tensor,
        tensors: dict[str, Tensor],
    ) -> Tensor:
        return latents.clamp(-self.limit, self.limit)

    def overlay(self, images: Any, arguments: StableDiffusionArguments) -> Any:
        return 1 - images


class GreyPipeline(dpnb.StableDiffusionPipeline):
    """Begins so."""

    beginning: Beginning[Any] = FromGrey()


@pytest.fixture(scope="module")
def grey() -> Any:
    pipe = GreyPipeline.from_pipe(build("tiny-sd"))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_new_one_decides_where_runs_begin_and_how_they_go_on(grey: Any) -> None:
    steps = [step for step in grey.stream("a cat", **SHORT) if step.timestep is not None]
    assert [(step.index, step.total) for step in steps] == [(0, 2), (1, 2)]
    assert all(float(step.latents.abs().max()) == 0.5 for step in steps)


def test_a_new_one_may_finish_pictures(grey: Any) -> None:
    latents = grey("a cat", **SHORT).images
    with torch.no_grad():
        plain = (grey.decode_pictures(latents) / 2 + 0.5).clamp(0, 1)
    drawn = grey("a cat", **{**SHORT, "output_type": "pt"}).images
    assert torch.allclose(drawn, 1 - plain, atol=1e-6)


def test_pipelines_hold_values() -> None:
    held: dict[Any, Beginning[Any]] = {
        dpnb.StableDiffusionPipeline: FromNoise[Any](),
        dpnb.FluxPipeline: FromNoise[Any](),
        dpnb.StableDiffusionImg2ImgPipeline: FromPicture[Any](StrengthStart()),
        dpnb.StableDiffusionInpaintPipeline: FromMaskedPicture[Any](StrengthStart()),
        dpnb.StableDiffusionXLImg2ImgPipeline: FromPicture[Any](HandoverStart()),
        dpnb.StableDiffusionXLInpaintPipeline: FromMaskedPicture[Any](HandoverStart()),
    }
    for kind, beginning in held.items():
        assert kind.beginning == beginning
        assert hash(kind.beginning) == hash(beginning)


def test_the_pictures_that_a_pipeline_takes_are_those_of_its_beginning(grey: Any) -> None:
    assert grey.picture_inputs == ()
    inpaint = dpnb.StableDiffusionInpaintPipeline.from_pipe(grey)
    assert [one.argument for one in inpaint.picture_inputs] == ["image", "mask_image"]
