"""What a plan has done to several pictures, as numbers that are kept."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from PIL import Image

from dpnb.fidelity.difference import compare
from dpnb.fidelity.picture_values import pair_pictures, to_levels
from dpnb.fidelity.visibility import Visibility, difference_size, words_for
from dpnb.numbers import parse_ints

SIDE = 192
"""Pixels along the longer side of the picture that is kept, at most."""


@dataclass(frozen=True)
class PictureSet:
    """What is drawn to see what plans do to the picture: each prompt from each seed.

    Args:
        prompts: in words, at least one.
        seeds: of the noise, at least one.

    Raises:
        ValueError: there are none of either.
        TypeError: these are no texts, or no whole numbers.
    """

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        given: Any = self.prompts
        seeds = parse_ints("seeds", self.seeds)
        is_several = isinstance(given, Iterable) and not isinstance(given, str)
        if not is_several or not all(isinstance(one, str) for one in given):
            raise TypeError(f"prompts is {given!r}; give a list of texts.")
        prompts = tuple(given)
        if not prompts or not seeds:
            raise ValueError("there is nothing to draw; give at least one prompt and one seed.")
        object.__setattr__(self, "prompts", tuple(dict.fromkeys(prompts)))
        object.__setattr__(self, "seeds", tuple(dict.fromkeys(seeds)))

    def describe(self) -> str:
        """In a few words, for titles."""
        prompts = f"{len(self.prompts)} prompt{'s' * (len(self.prompts) != 1)}"
        return f"{prompts} from {len(self.seeds)} seed{'s' * (len(self.seeds) != 1)} each"


@dataclass(frozen=True)
class PictureScore:
    """How far what a plan has drawn is from what was drawn without it.

    Attributes:
        prompt: what was drawn.
        seed: of the noise.
        flip: FLIP's mean, 0 to 1.
        flip_worst: of the worst tile.
        ssim: structural similarity, at most 1.
        ssim_worst: of the worst tile.
        psnr: in decibels; `None` where nothing differs.
        psnr_worst: of the worst tile; `None` likewise.
        thumbnail: a small JPEG file of what the plan has drawn, in base 64; empty where none was
            kept.
    """

    prompt: str
    seed: int
    flip: float
    flip_worst: float
    ssim: float
    ssim_worst: float
    psnr: float | None
    psnr_worst: float | None
    thumbnail: str = field(default="", repr=False)

    @property
    def size(self) -> float:
        """FLIP's mean, or a third of its worst tile where that is more."""
        return difference_size(self.flip, self.flip_worst)

    @property
    def picture(self) -> Image.Image | None:
        """What the plan has drawn, small; `None` where it was not kept."""
        if not self.thumbnail:
            return None
        return Image.open(io.BytesIO(base64.b64decode(self.thumbnail)))


@dataclass(frozen=True)
class Quality:
    """What a plan has done to the pictures.

    Args:
        scores: of each prompt and seed, at least one.
    """

    scores: tuple[PictureScore, ...]

    @property
    def flip(self) -> float:
        """FLIP's mean over all pictures."""
        return fmean(one.flip for one in self.scores)

    @property
    def flip_worst(self) -> float:
        """FLIP of the worst tile of any picture."""
        return max(one.flip_worst for one in self.scores)

    @property
    def ssim(self) -> float:
        """The mean structural similarity."""
        return fmean(one.ssim for one in self.scores)

    @property
    def ssim_worst(self) -> float:
        """Structural similarity of the worst tile of any picture."""
        return min(one.ssim_worst for one in self.scores)

    @property
    def psnr_worst(self) -> float | None:
        """In decibels, of the worst tile of any picture; `None` where none differs."""
        found = [one.psnr_worst for one in self.scores if one.psnr_worst is not None]
        return min(found, default=None)

    @property
    def psnr(self) -> float | None:
        """The mean in decibels, of the pictures that differ; `None` where none does."""
        found = [one.psnr for one in self.scores if one.psnr is not None]
        return fmean(found) if found else None

    @property
    def size(self) -> float:
        """That of the picture that differs most."""
        return max(one.size for one in self.scores)

    @property
    def words(self) -> Visibility:
        """What holds of the picture that differs most, and so of every one at the most."""
        return words_for(self.size)

    def describe(self) -> str:
        """FLIP's mean and the words, for tables; where one picture differs by more, that too."""
        most = self.size
        beside = "" if words_for(self.flip) is self.words else f", at most {most:.3f}:"
        return f"{self.flip:.3f}{beside} {self.words}"


def score_picture(
    prompt: str, seed: int, plain: Any, drawn: Any, *, keeps: bool = True
) -> PictureScore:
    """Compare what a plan has drawn with what was drawn without it.

    Args:
        prompt: what was drawn.
        seed: of the noise.
        plain: what was drawn without it; pictures as `compare` takes them.
        drawn: what was drawn with it.
        keeps: whether a small copy of the first picture is kept.

    Raises:
        TypeError: these are no pictures.
        ValueError: they differ in number or size.
        MissingPackageError: `dpnb[quality]` is not installed.
    """
    found = compare(plain, drawn)
    assert found.flip is not None
    assert found.ssim is not None
    assert found.psnr is not None
    return PictureScore(
        prompt=prompt,
        seed=seed,
        flip=found.flip.mean,
        flip_worst=found.flip.worst,
        ssim=found.ssim.mean,
        ssim_worst=found.ssim.worst,
        psnr=_finite(found.psnr.mean),
        psnr_worst=_finite(found.psnr.worst),
        thumbnail=_thumbnail(drawn) if keeps else "",
    )


def _finite(decibels: float) -> float | None:
    return None if math.isinf(decibels) else decibels


def _thumbnail(drawn: Any) -> str:
    [(values, _), *_] = pair_pictures(drawn, drawn)
    small, file = to_levels(values), io.BytesIO()
    small.thumbnail((SIDE, SIDE))
    small.save(file, "JPEG", quality=92, subsampling=0)
    return base64.b64encode(file.getvalue()).decode()
