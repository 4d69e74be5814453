"""A picture that is drawn larger."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import ComponentError
from tests.pipelines.derived import PICTURE, derive, draw
from tests.strategies.pipes import build

KIND = dpnb.StableDiffusionUpscalePipeline


def test_the_picture_becomes_as_large_as_the_autoencoder_makes_it() -> None:
    pipe = derive(KIND)
    scale = pipe.vae_scale_factor
    drawn = draw(pipe, image=PICTURE.resize((11, 7)), height=None, width=None)
    sides = [side // scale * scale * scale for side in (7, 11)]
    assert [*drawn.shape[-2:]] == sides


def test_the_network_is_told_how_much_noise_the_picture_has() -> None:
    pipe, seen = derive(KIND), list[dict[str, Any]]()
    pipe.unet.register_forward_pre_hook(
        lambda _, args, given: seen.append({**given, "sample": args[0]}), with_kwargs=True
    )
    clean, noisy = (draw(pipe, noise_level=level, num_inference_steps=1) for level in (0, 300))
    assert [given["class_labels"].tolist() for given in seen] == [[0, 0], [300, 300]]
    assert not torch.equal(clean, noisy)
    spread = [given["sample"][:, 4:].std() for given in seen]
    assert spread[1] > spread[0]


def test_noise_levels_are_embedded_once() -> None:
    pipe = derive(KIND)
    plain = draw(pipe)
    with pipe.strategies.using(dpnb.ConditioningCache()):
        torch.testing.assert_close(draw(pipe), plain)


def test_guidance_may_end_in_the_middle_of_a_run() -> None:
    def end(pipe: Any, *_: Any) -> dict[str, Any]:
        pipe._guidance_scale = 0.0
        return {}

    pipe, sizes = derive(KIND), list[int]()
    pipe.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    draw(pipe, num_inference_steps=2, callback_on_step_end=end)
    assert sizes == [2, 1]


def test_the_unit_of_sizes_is_that_of_what_is_enlarged() -> None:
    pipe = derive(KIND)
    pipe.vae = dpnb.AutoencoderKL(
        block_out_channels=(32,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    ).eval()
    assert pipe.size_unit == 64
    drawn = draw(pipe, height=64, width=64, num_inference_steps=1)
    assert drawn.shape[-2:] == (64, 64)
    with pytest.raises(ValueError, match="height is 8; it must be a positive multiple of 64"):
        draw(pipe, height=8)


def test_what_it_cannot_do_is_refused() -> None:
    pipe = derive(KIND)
    with pytest.raises(ValueError, match="noise_level is 351; this model was trained with at most"):
        draw(pipe, noise_level=351)
    with pytest.raises(ValueError, match="noise_level is -1; it is a timestep"):
        draw(pipe, noise_level=-1)
    with pytest.raises(ValueError, match="image holds latents, and a picture is enlarged here"):
        draw(pipe, image=torch.randn(1, 4, 16, 16), height=None, width=None)
    with pytest.raises(TypeError, match="timesteps is not an argument of this pipeline: give num_"):
        draw(pipe, timesteps=[1])
    base = build("tiny-sd")
    other: Any = KIND.from_pipe(base, low_res_scheduler=dpnb.DDPMScheduler())
    with pytest.raises(ComponentError, match="the UNet takes 4 channels; one that enlarges pictur"):
        draw(other)
    with pytest.raises(ComponentError, match="watermarker marks pictures invisibly"):
        KIND.from_pipe(base, low_res_scheduler=dpnb.DDPMScheduler(), watermarker=object())
