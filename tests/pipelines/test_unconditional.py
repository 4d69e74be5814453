"""Pictures without words."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import ComponentError, StrategyError
from dpnb.stages import Stage
from tests.strategies.pipes import LINK

KINDS = (dpnb.DDPMPipeline, dpnb.DDIMPipeline, dpnb.PNDMPipeline, dpnb.LDMPipeline)


def make(kind: Any) -> Any:
    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "unet": dpnb.UNet2DModel(
            sample_size=16,
            block_out_channels=(32, 64),
            norm_num_groups=8,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        ).eval(),
        "scheduler": dpnb.DDPMScheduler(),
    }
    if kind is dpnb.LDMPipeline:
        parts["vqvae"] = dpnb.VQModel(
            block_out_channels=(32, 64),
            latent_channels=3,
            norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        ).eval()
    pipe = kind(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, **given: Any) -> Any:
    asked = {"num_inference_steps": 4, "output_type": "pt", "generator": torch.manual_seed(0)}
    return pipe(**{**asked, **given}).images


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_the_pictures_are_the_same(kind: Any) -> None:
    pipe = make(kind)
    plain = draw(pipe, batch_size=2)
    side = 32 if kind is dpnb.LDMPipeline else 16
    assert plain.shape == (2, 3, side, side)
    with pipe.strategies.using(dpnb.SequentialOffload(device=LINK)):
        assert torch.equal(draw(pipe, batch_size=2), plain)
    assert torch.equal(draw(pipe, batch_size=2), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_its_cost_is_planned_and_its_steps_are_heard(kind: Any) -> None:
    pipe = make(kind)
    rows = [row for row in dpnb.plan(pipe, device="RTX 3060", steps=4) if row.peaks]
    assert Stage.TEXT not in rows[0].peaks
    steps = list(pipe.stream(num_inference_steps=4))
    assert {step.stage for step in steps} == {Stage.DENOISING, Stage.DECODING}
    assert len(pipe.preview(steps[0].latents)) == 1


def test_previews_are_the_picture_as_it_is() -> None:
    pipe = make(dpnb.DDPMPipeline)
    *drawn, last = pipe.stream(num_inference_steps=4)
    shown = [pipe.preview(step.latents)[0] for step in drawn]
    assert {picture.size for picture in shown} == {(16, 16)}
    assert len({picture.tobytes() for picture in shown}) == 4
    assert shown[-1].tobytes() == last.output.images[0].tobytes()


def test_another_size_may_be_drawn() -> None:
    assert draw(make(dpnb.DDPMPipeline), height=20, width=24).shape == (1, 3, 20, 24)


def test_a_callback_sees_the_picture_as_it_is() -> None:
    seen = list[tuple[int, ...]]()

    def note(_: Any, index: int, t: Any, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
        seen.append(tuple(tensors["latents"].shape))
        return {"latents": torch.zeros_like(tensors["latents"])} if index == 3 else {}

    drawn = draw(make(dpnb.DDPMPipeline), callback_on_step_end=note)
    assert seen == [(1, 3, 16, 16)] * 4
    assert bool((drawn == 0.5).all())


def test_half_precision_draws() -> None:
    pipe = make(dpnb.DDIMPipeline).to(dtype=torch.bfloat16)
    assert draw(pipe).dtype == torch.bfloat16


def test_what_it_cannot_do_is_refused() -> None:
    pipe = make(dpnb.DDIMPipeline)
    with pytest.raises(TypeError, match="prompt is not an argument of this pipeline; it takes"):
        draw(pipe, prompt="a cat")
    with pytest.raises(ValueError, match="batch_size"):
        draw(pipe, batch_size=0)
    with pytest.raises(ValueError, match=r"eta is 1.5; it is between 0"):
        draw(pipe, eta=1.5)
    with pytest.raises(ValueError, match="latents has shape"):
        draw(pipe, latents=torch.zeros(2, 3, 8, 8))
    with pytest.raises(StrategyError, match="FreeU needs a UNet"):
        pipe.strategies.enable(dpnb.FreeU())
    pipe.unet = None
    with pytest.raises(ComponentError, match="there is no unet to draw with"):
        draw(pipe)
