"""FLIP, SSIM and PSNR, everywhere and in the worst tile."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from dpnb.errors import MissingPackageError
from dpnb.fidelity.picture_values import Values
from dpnb.fidelity.scores import (
    HALO,
    STRIP,
    map_flip,
    map_ssim,
    needs_quality_packages,
    score_flip,
    score_psnr,
    score_ssim,
    tile_means,
)

pytest.importorskip("flip_evaluator")
pytest.importorskip("skimage")


def noise(height: int, width: int, seed: int = 0) -> Values:
    values: Values = np.random.default_rng(seed).random((height, width, 3), np.float32)
    return values


def with_blot(picture: Values, by: float = 0.5) -> Values:
    spoilt: Values = picture.copy()
    spoilt[8:16, 8:16] = np.abs(spoilt[8:16, 8:16] - by)
    return spoilt


def test_strips_give_the_errors_of_the_whole() -> None:
    import flip_evaluator

    one, other = noise(2 * STRIP + 40, 24), noise(2 * STRIP + 40, 24, 1)
    whole, mean, _ = flip_evaluator.evaluate(one, other, "LDR", applyMagma=False)
    found = map_flip(one, other)
    np.testing.assert_allclose(found, whole[..., 0], atol=1e-6)
    assert score_flip([found]).mean == pytest.approx(mean, abs=1e-5)
    assert HALO >= 24


def test_pictures_that_cannot_be_written_to_are_read() -> None:
    fixed = noise(16, 16)
    fixed.flags.writeable = False
    assert map_flip(fixed, fixed).max() == 0


def test_what_is_the_same_has_the_best_scores() -> None:
    one = noise(32, 48)
    assert score_flip([map_flip(one, one)]).worst == 0
    assert score_ssim([(one, one)]).worst == pytest.approx(1)
    assert score_psnr([(one, one)]).mean == math.inf


def test_the_worst_tile_is_where_the_blot_is() -> None:
    one = np.full((64, 64, 3), 0.5, np.float32)
    other = with_blot(one, 0.9)
    means = tile_means(map_flip(one, other))
    assert means.argmax() == 0
    for score in (score_psnr([(one, other)]), score_ssim([(one, other)])):
        assert score.worst < score.mean
    flip = score_flip([map_flip(one, other)])
    assert flip.worst > 3 * flip.mean


@pytest.mark.parametrize("shape", [(64, 64), (33, 70), (11, 300), (512, 700)])
def test_tiles_share_out_all_pixels(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    means = tile_means(values)
    assert values.min() <= means.min() <= values.mean() <= means.max() <= values.max()
    side = min(32, min(shape) // 4)
    for length, count in zip(shape, means.shape, strict=True):
        assert abs(length / side - count) <= 0.5
    assert (tile_means(np.ones(shape, np.float32)) == 1).all()


def test_psnr_is_that_of_the_mean_squared_error() -> None:
    one = np.full((16, 16, 3), 0.5, np.float32)
    assert score_psnr([(one, one + 0.1)]).mean == pytest.approx(20, abs=1e-3)
    half = score_psnr([(one, one + 0.1), (one, one)])
    assert half.mean == pytest.approx(20 + 10 * math.log10(2), abs=1e-3)
    assert half.worst == pytest.approx(20, abs=1e-3)


def test_ssim_of_unrelated_pictures_is_low_and_does_not_depend_on_the_order() -> None:
    one, other = noise(32, 32), noise(32, 32, 1)
    assert map_ssim(one, other)[0] < 0.2
    assert map_ssim(one, other)[0] == pytest.approx(map_ssim(other, one)[0])


def test_a_package_that_is_missing_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs_quality_packages()
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    with pytest.raises(MissingPackageError, match=r'pip install "dpnb\[quality\]"'):
        needs_quality_packages()


def test_a_large_picture_counts_for_as_much_as_it_has_pixels() -> None:
    small, large = np.zeros((16, 16, 3), np.float32), noise(64, 64)
    pairs = [(small, small + 1), (large, large)]
    share = 16 * 16 / (16 * 16 + 64 * 64)
    assert score_psnr(pairs).mean == pytest.approx(-10 * math.log10(share))
    flips = [map_flip(*pair) for pair in pairs]
    assert score_flip(flips).mean == pytest.approx(share * flips[0].mean())
    assert score_ssim(pairs).mean == pytest.approx(share * map_ssim(*pairs[0])[0] + 1 - share)
