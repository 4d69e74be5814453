"""A picture whose depth is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dpnb
from dpnb.errors import ComponentError
from dpnb.pipelines.depth import scale_depth
from dpnb.pipelines.pictures.inputs import Pictures
from tests.pipelines.derived import PICTURE, derive, draw

KIND = dpnb.StableDiffusionDepth2ImgPipeline


def test_depth_goes_from_one_end_to_the_other() -> None:
    depth = torch.arange(64.0).view(1, 8, 8) * 100
    small = scale_depth(depth, (4, 4))
    assert small.shape == (1, 1, 4, 4)
    assert (float(small.min()), float(small.max())) == (-1.0, 1.0)


def test_a_depth_that_is_the_same_everywhere_is_a_number() -> None:
    assert bool((scale_depth(torch.ones(1, 8, 8), (4, 4)) == -1).all())


def test_a_given_depth_is_not_estimated() -> None:
    pipe = derive(KIND)
    pipe.depth_estimator.register_forward_pre_hook(lambda *_: pytest.fail("estimated"))
    near = torch.linspace(0, 1, 64).view(1, 8, 8)
    first, second = draw(pipe, depth_map=near), draw(pipe, depth_map=1 - near)
    assert not torch.equal(first, second)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    assert draw(pipe, image=latents, depth_map=near).shape == (1, 3, 32, 32)


def test_the_depth_is_that_of_the_picture_in_any_form() -> None:
    pipe, whole = derive(KIND), PICTURE.resize((32, 32))
    levels = torch.from_numpy(np.asarray(whole, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    forms = [whole, levels, levels[:, :1], whole.convert("L")]
    depths = [
        pipe.estimate_depth(Pictures.parse("image", form), torch.device("cpu"), torch.float32)
        for form in forms
    ]
    for depth in depths[1:]:
        torch.testing.assert_close(depth, depths[0])


def test_half_precision_estimates() -> None:
    pipe = derive(KIND).to(dtype=torch.bfloat16)
    assert bool(draw(pipe, num_inference_steps=2).isfinite().all())


def test_what_it_cannot_do_is_refused() -> None:
    pipe: Any = derive(KIND)
    with pytest.raises(ValueError, match="latents have no depth to estimate; give depth_map"):
        draw(pipe, image=torch.randn(1, 4, 16, 16))
    with pytest.raises(ValueError, match=r"depth_map is \(8, 8\); give a tensor \[pictures, heig"):
        draw(pipe, depth_map=torch.ones(8, 8))
    with pytest.raises(ValueError, match="depth_map holds NaN or infinity"):
        draw(pipe, depth_map=torch.full((1, 8, 8), torch.nan))
    pipe.depth_estimator = None
    with pytest.raises(ComponentError, match="there is no depth_estimator with a feature_extracto"):
        draw(pipe)
    pipe = derive(KIND)
    pipe.unet = dpnb.UNet2DConditionModel.from_config({**pipe.unet.config, "in_channels": 4})
    with pytest.raises(ComponentError, match="takes 4 channels; one that sees depth takes 5"):
        draw(pipe)
