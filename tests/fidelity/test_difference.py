"""`dpnb.compare`: numbers, words, and pictures of where."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dpnb
from dpnb.fidelity.difference import SHOWN
from dpnb.fidelity.visibility import Visibility

pytest.importorskip("flip_evaluator")
pytest.importorskip("skimage")


def picture(seed: int = 0, side: int = 32) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def shifted(one: Image.Image, by: int) -> Image.Image:
    levels = np.asarray(one, dtype=np.int16) - by
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def test_a_picture_is_the_same_as_itself() -> None:
    found = dpnb.compare(picture(), picture())
    assert found.flip is not None
    assert found.psnr is not None
    assert (found.flip.mean, found.flip.worst, found.largest) == (0, 0, 0)
    assert found.psnr.mean == math.inf
    assert found.words is Visibility.SAME
    assert found.describe() == "FLIP 0.000: the same"


def test_what_differs_more_has_a_larger_size() -> None:
    sizes = [dpnb.compare(picture(), shifted(picture(), by)).size for by in (0, 1, 3, 8, 30, 90)]
    assert sizes == sorted(sizes)
    assert dpnb.compare(picture(), picture(1)).words is Visibility.ANOTHER
    assert dpnb.compare(picture(), shifted(picture(), 4)).largest == pytest.approx(4, abs=1e-3)


def test_several_pictures_have_the_mean_of_all_and_the_worst_tile_of_any() -> None:
    one, other = picture(), picture(1)
    single, both = dpnb.compare(one, other), dpnb.compare([one, one], [other, one])
    assert single.flip is not None
    assert both.flip is not None
    assert both.flip.mean == pytest.approx(single.flip.mean / 2)
    assert both.flip.worst == single.flip.worst
    assert len(both.maps) == len(both.pairs) == 2


def test_it_says_where() -> None:
    one = np.full((64, 64, 3), 0.5, np.float32)
    other = one.copy()
    other[40:60, 40:60] = 0.9
    heat = np.asarray(dpnb.compare(one, other).heat_map.convert("L"), dtype=np.int16)
    assert heat[:64, :64].max() < 10
    assert heat[180:220, 180:220].min() > 100


def test_a_sheet_has_both_pictures_and_the_map_in_a_row() -> None:
    found = dpnb.compare([picture(), picture(2)], [picture(1), picture(2)])
    assert found.sheet().width > 3 * 256
    assert found.sheet().height == found.heat_map.height > 2 * 256


def test_it_shows_itself_in_a_notebook() -> None:
    found = dpnb.compare([picture()] * (SHOWN + 2), [picture(1)] * (SHOWN + 2))
    shown: Any = found._repr_html_()
    assert shown.count("<img") == 3 * SHOWN
    assert "and 2 further pairs" in shown
    assert str(found.words) in shown
    alone: Any = dpnb.compare(picture(), picture(1), ["psnr"])._repr_html_()
    assert alone.count("<img") == 2


def test_without_the_extra_psnr_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(dpnb.MissingPackageError, match=r'pip install "dpnb\[quality\]"'):
        dpnb.compare(picture(), picture(1))
    found = dpnb.compare(picture(), picture(1), ["psnr"])
    assert found.psnr is not None
    assert found.describe().startswith("PSNR")
    for ask in (lambda: found.size, lambda: found.heat_map, found.sheet):
        with pytest.raises(ValueError, match="FLIP was not asked for"):
            ask()


def test_scores_without_flip_have_words_too() -> None:
    found = dpnb.compare(picture(), picture(1), ["ssim"])
    assert found.describe().startswith("SSIM 0.")
    assert str(found.describe()) in found._repr_html_()
    assert dpnb.compare(picture(), picture(1), ["ssim", "psnr"]).describe().startswith("PSNR ")
    assert dpnb.compare(picture(), picture(), []).describe() == "0 of 255 at the most"


@pytest.mark.parametrize("scores", [["lpips"], "flip", ["flip", "mse"], None, 5])
def test_there_are_three_scores(scores: Any) -> None:
    with pytest.raises(ValueError, match="give a list of some of 'flip', 'ssim', 'psnr'"):
        dpnb.compare(picture(), picture(), scores)
