"""Pictures and masks at once, beside diffusers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import image_processor as theirs
from PIL import Image
from torch import Tensor

from dpnb import image_processor as ours

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def make_mask() -> Image.Image:
    mask = Image.new("L", (64, 48))
    mask.paste(255, (20, 10, 36, 30))
    return mask


@pytest.mark.parametrize("padding", [None, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_pictures_and_masks_are_prepared_alike(padding: int | None, masked: bool) -> None:
    mask = make_mask() if masked else None
    sizes = (32, 32, padding)
    if padding is not None and not masked:
        with pytest.raises(ValueError, match="padding_mask_crop is 4, which asks for a mask"):
            ours.InpaintProcessor().preprocess(PICTURE, mask, *sizes)
        return
    made: list[Any] = [
        library.InpaintProcessor().preprocess(PICTURE, mask, *sizes) for library in (ours, theirs)
    ]
    torch.testing.assert_close(made[0][0], made[1][0], atol=2 / 255, rtol=0)
    assert (made[0][1] is None) is (made[1][1] is None) is not masked
    if masked:
        torch.testing.assert_close(made[0][1], made[1][1])
    assert made[0][2] == made[1][2]


def test_what_was_drawn_of_a_part_is_pasted_back() -> None:
    drawn = torch.zeros(1, 3, 32, 32)
    pasted = []
    for library in (ours, theirs):
        processor = library.InpaintProcessor()
        pictures, _, kept = processor.preprocess(PICTURE, make_mask(), 32, 32, 4)
        assert isinstance(pictures, Tensor)
        pasted.append(np.asarray(processor.postprocess(drawn, **kept)[0], dtype=int))
    assert np.abs(pasted[0] - pasted[1]).max() <= 2
    processor = ours.InpaintProcessor()
    assert processor.postprocess(drawn, "pt").shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match="crops_coords asks for original_image and original_mask"):
        processor.postprocess(drawn, crops_coords=(0, 0, 4, 4))


@pytest.mark.parametrize("resize_mode", ["default", "fill", "crop"])
@pytest.mark.parametrize("resample", ["nearest", "linear", "bilinear", "bicubic", "lanczos"])
def test_pictures_are_scaled_by_the_filter(resample: str, resize_mode: str) -> None:
    made = [
        library.VaeImageProcessor(resample=resample).preprocess(
            PICTURE, height=32, width=32, resize_mode=resize_mode
        )
        for library in (ours, theirs)
    ]
    torch.testing.assert_close(*made, atol=2 / 255, rtol=0)


def test_filters_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="resample is 'sharp'; PIL has nearest"):
        ours.VaeImageProcessor(resample="sharp")


def test_forms_of_grey_pictures() -> None:
    two = [torch.rand(3, 16, 16), torch.rand(3, 16, 16)]
    for library in (ours, theirs):
        grey = library.VaeImageProcessor(do_convert_grayscale=True)
        assert grey.preprocess(two).shape == (2, 3, 16, 16)
        plain = library.VaeImageProcessor()
        assert plain.preprocess(PICTURE.convert("1")).shape == (1, 1, 48, 64)


def test_a_processor_that_is_not_here_is_told() -> None:
    module: Any = ours
    with pytest.raises(ImportError, match=r"pictures go through dpnb\.VaeImageProcessor"):
        _ = module.PixArtImageProcessor
