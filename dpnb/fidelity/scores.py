"""How far two pictures differ, by three measures, everywhere and where they differ most."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dpnb.errors import MissingPackageError
from dpnb.fidelity.picture_values import Values

TILE = 32
"""Pixels along a side: half a degree of sight at the distance that FLIP assumes."""

STRIP = 256
"""Rows that are looked at in one call of the library, which lets no other thread go on."""

HALO = 32
"""Rows beyond a strip that its values depend on, and some more."""

Map: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
"""A value for each pixel, `[height, width]`."""

Pair: TypeAlias = tuple[Values, Values]


@dataclass(frozen=True)
class Score:
    """A measure of several pictures.

    Attributes:
        mean: over all pixels of all pictures.
        worst: of the tile that differs most.
    """

    mean: float
    worst: float


def needs_quality_packages() -> None:
    """Say what is missing for FLIP and SSIM.

    Raises:
        MissingPackageError: a package is not installed.
    """
    try:
        import flip_evaluator  # noqa: F401
        import skimage.metrics  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            f"FLIP and SSIM need {error.name or 'a package'}, which is not installed: pip install "
            '"dpnb[quality]", or compare with scores=["psnr"], which needs nothing.'
        ) from error


def map_flip(first: Values, second: Values) -> Map:
    """FLIP's error of each pixel, 0 to 1, for people who flip between the pictures.

    Andersson et al. (2020), FLIP: A Difference Evaluator for Alternating Images, with its own 67
    pixels to a degree: a 4K screen 0.7 m wide, seen from 0.7 m.

    Args:
        first: the reference, `[height, width, 3]` in [0, 1].
        second: of the same size.
    """
    import flip_evaluator

    height = len(first)
    found = np.empty(first.shape[:2], np.float32)
    for top in range(0, height, STRIP):
        start, end = max(top - HALO, 0), min(top + STRIP + HALO, height)
        parts = [np.array(one[start:end], np.float32) for one in (first, second)]
        error, _, _ = flip_evaluator.evaluate(*parts, "LDR", applyMagma=False)
        found[top : top + STRIP] = error[top - start : top - start + STRIP, :, 0]
    return found


def map_ssim(first: Values, second: Values) -> tuple[float, Map]:
    """Structural similarity, 1 where nothing differs: its mean, and that of each pixel.

    Wang et al. (2004), Image Quality Assessment: From Error Visibility to Structural Similarity,
    with their Gaussian window, over the three colours.

    Args:
        first: `[height, width, 3]` in [0, 1].
        second: of the same size.
    """
    from skimage.metrics import structural_similarity

    mean, full = structural_similarity(
        first, second, channel_axis=2, data_range=1.0, full=True,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    return float(mean), full.mean(axis=2)


def score_flip(maps: Iterable[Map]) -> Score:
    """FLIP of several pictures, from their errors by pixel."""
    return _score(list(maps))


def score_ssim(pairs: Iterable[Pair]) -> Score:
    """SSIM of several pairs of pictures."""
    found = [map_ssim(*pair) for pair in pairs]
    worst = min(float(tile_means(full).min()) for _, full in found)
    mean = np.average([one for one, _ in found], weights=[full.size for _, full in found])
    return Score(float(mean), worst)


def score_psnr(pairs: Iterable[Pair]) -> Score:
    """Peak signal-to-noise ratio of several pairs, in decibels; infinite where nothing differs.

    It is that of the mean squared error of all pictures together.
    """
    errors = _score([np.square(one - other).mean(axis=2) for one, other in pairs])
    return Score(_decibels(errors.mean), _decibels(errors.worst))


def tile_means(values: Map) -> Map:
    """The mean of each tile; those at the edges are as large as the others or nearly so.

    Args:
        values: `[height, width]`.

    Returns:
        One value for each tile; tiles have some 32 pixels along a side, and at most a quarter of
        the shorter side.
    """
    side = min(TILE, min(values.shape) // 4)
    rows, columns = (_starts(length, side) for length in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    heights, widths = np.diff([*rows, values.shape[0]]), np.diff([*columns, values.shape[1]])
    means: Map = sums / np.outer(heights, widths)
    return means


def _starts(length: int, side: int) -> list[int]:
    count = max(round(length / side), 1)
    return [number * length // count for number in range(count)]


def _score(maps: list[Map]) -> Score:
    means, sizes = [one.mean(dtype=np.float64) for one in maps], [one.size for one in maps]
    mean = float(np.average(means, weights=sizes))
    worst = max(float(tile_means(one).max()) for one in maps)
    return Score(mean, worst)


def _decibels(error: float) -> float:
    return math.inf if error == 0 else -10 * math.log10(error)
