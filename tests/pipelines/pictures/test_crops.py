from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dpnb.pipelines.pictures.crops import Region


def mask_of(left: int, top: int, right: int, bottom: int) -> Image.Image:
    """A mask of 40 x 20 pixels that is white within a rectangle."""
    mask = Image.new("L", (40, 20))
    mask.paste(255, (left, top, right, bottom))
    return mask


def test_a_region_has_the_shape_of_what_is_drawn() -> None:
    region = Region.around(mask_of(10, 8, 14, 12), 1, height=32, width=64)
    assert (region.width, region.height) == (12, 6)
    assert (region.left, region.top) == (6, 7)


def test_a_region_stays_within_the_picture() -> None:
    region = Region.around(mask_of(0, 0, 3, 20), 5, height=32, width=32)
    assert (region.left, region.top, region.right, region.bottom) == (0, 0, 20, 20)


def test_a_mask_without_white_is_refused() -> None:
    with pytest.raises(ValueError, match="mask_image is black everywhere"):
        Region.around(Image.new("L", (8, 8)), 0, height=8, width=8)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 32), (32, 8)])
def test_what_is_cut_has_the_size_that_is_asked_for(height: int, width: int) -> None:
    picture = Image.new("RGB", (40, 20), (200, 100, 50))
    cut = Region(4, 2, 20, 18).crop(picture, height, width)
    assert cut.size == (width, height)
    assert np.unique(np.array(cut).reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]


def test_only_what_is_masked_changes() -> None:
    picture, mask = Image.new("RGB", (40, 20), "blue"), mask_of(10, 8, 14, 12)
    region = Region.around(mask, 2, height=16, width=16)
    result = region.paste(Image.new("RGB", (16, 16), "red"), picture, mask)
    expected = picture.copy()
    expected.paste("red", (10, 8, 14, 12))
    assert np.array_equal(np.array(result), np.array(expected))
