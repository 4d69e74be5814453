"""FLUX whose network sees the rest of a picture, and the mask."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import ComponentError
from tests.pipelines.derived import PICTURE, derive, draw
from tests.strategies.pipes import build

KIND = dpnb.FluxFillPipeline


def test_the_network_sees_the_rest_and_every_pixel_of_the_mask() -> None:
    pipe, seen = derive(KIND), list[torch.Tensor]()
    pipe.transformer.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["hidden_states"]), with_kwargs=True
    )
    draw(pipe, num_inference_steps=1)
    drawn, scale = pipe.drawn_channels, pipe.vae_scale_factor
    maps = pipe._unpack_latents(seen[0], 32, 32, scale)
    mask = torch.nn.functional.pixel_shuffle(maps[:, 2 * drawn :], scale)
    assert mask.shape == (1, 1, 32, 32)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert bool((mask[..., 16:] == 1).all())


def test_what_is_masked_of_the_picture_is_not_seen() -> None:
    changed = PICTURE.copy()
    changed.paste((255, 0, 0), (20, 4, 28, 12))
    assert torch.equal(draw(derive(KIND)), draw(derive(KIND), image=changed))


def test_what_it_cannot_do_is_refused() -> None:
    pipe = derive(KIND)
    with pytest.raises(TypeError, match="negative_prompt is not an argument of this pipeline: the"):
        draw(pipe, negative_prompt="a dog")
    with pytest.raises(TypeError, match="padding_mask_crop is not an argument"):
        draw(pipe, padding_mask_crop=4)
    with pytest.raises(ValueError, match="masked_image_latents are made of image and mask_image"):
        draw(pipe, masked_image_latents=torch.zeros(1, 4, 16, 16))
    with pytest.raises(ValueError, match="latents cannot be masked for this network"):
        draw(pipe, image=torch.randn(1, 4, 16, 16))
    other: Any = KIND.from_pipe(build("tiny-flux"))
    with pytest.raises(ComponentError, match=r"fills pictures takes \d+.*use FluxInpaintPipeline"):
        draw(other)
