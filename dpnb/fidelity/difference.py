"""How far pictures differ: numbers, words, and pictures of where."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from dpnb.fidelity.heat_map import choose_top, draw_heat_map
from dpnb.fidelity.picture_values import pair_pictures, to_levels
from dpnb.fidelity.scores import (
    Map,
    Pair,
    Score,
    map_flip,
    needs_quality_packages,
    score_flip,
    score_psnr,
    score_ssim,
)
from dpnb.fidelity.visibility import Visibility, difference_size, words_for

SCORES = ("flip", "ssim", "psnr")

SHOWN = 6
"""So many pairs at most are shown as a cell's value."""

GAP = 8


@dataclass(frozen=True)
class PictureDifference:
    """How far pictures differ from those that they are compared with.

    It shows itself in a notebook: one picture, the other, where they differ, and the numbers.

    Attributes:
        flip: FLIP's error, 0 (the same) to 1; `None` where it was not asked for.
        ssim: structural similarity, 1 where nothing differs; `None` likewise.
        psnr: in decibels, infinite where nothing differs; `None` likewise.
        largest: the largest difference of a colour, of 255.
        pairs: the pictures, each beside the other, `[height, width, 3]` in [0, 1].
        maps: FLIP's error of each pixel, `[height, width]`, a map for each pair.
    """

    flip: Score | None
    ssim: Score | None
    psnr: Score | None
    largest: float
    pairs: tuple[Pair, ...] = field(repr=False, compare=False)
    maps: tuple[Map, ...] = field(repr=False, compare=False)

    @property
    def size(self) -> float:
        """FLIP's mean, or a third of its worst tile where that is more.

        Raises:
            ValueError: FLIP was not asked for.
        """
        if self.flip is None:
            raise ValueError('FLIP was not asked for; compare with "flip" among the scores.')
        return difference_size(self.flip.mean, self.flip.worst)

    @property
    def words(self) -> Visibility:
        """What the size means.

        Raises:
            ValueError: FLIP was not asked for.
        """
        return words_for(self.size)

    @property
    def heat_map(self) -> Image.Image:
        """Where the pictures differ, with a scale; of several pairs, one below the other.

        Small pictures are enlarged by a whole number.

        Raises:
            ValueError: FLIP was not asked for.
        """
        return _stack(self.heat_maps)

    @property
    def heat_maps(self) -> list[Image.Image]:
        """Where the pictures differ, of each pair, all with one scale.

        Raises:
            ValueError: FLIP was not asked for.
        """
        if self.flip is None:
            raise ValueError('FLIP was not asked for; compare with "flip" among the scores.')
        top = choose_top(self.maps)
        return [draw_heat_map(one, top) for one in self.maps]

    def sheet(self) -> Image.Image:
        """One picture, the other, and where they differ, side by side; a row for each pair.

        Raises:
            ValueError: FLIP was not asked for.
        """
        rows = []
        for (one, other), heat in zip(self.pairs, self.heat_maps, strict=True):
            times = heat.width // one.shape[1]
            shown = [_enlarge(to_levels(picture), times) for picture in (one, other)]
            row = Image.new("RGB", (3 * heat.width + 2 * GAP, heat.height), "white")
            for place, picture in enumerate([*shown, heat]):
                row.paste(picture, (place * (heat.width + GAP), 0))
            rows.append(row)
        return _stack(rows)

    def describe(self) -> str:
        """The size and the words, for example "FLIP 0.048: not visible side by side"."""
        if self.flip is not None:
            return f"FLIP {_number(self.flip.mean, 3)}: {self.words}"
        ssim = [] if self.ssim is None else [f"SSIM {_number(self.ssim.mean, 4)}"]
        psnr = [] if self.psnr is None else [f"PSNR {_number(self.psnr.mean, 1)} dB"]
        return ", ".join([*psnr, *ssim]) or f"{self.largest:.0f} of 255 at the most"

    def _repr_html_(self) -> str:
        rows = "".join(self._html_rows())
        more = len(self.pairs) - SHOWN
        rest = f"<div>… and {more} further pairs</div>" if more > 0 else ""
        return f"<div><div><b>{escape(self.describe())}</b></div>{rows}{rest}{self._table()}</div>"

    def _html_rows(self) -> Iterator[str]:
        heats = self.heat_maps[:SHOWN] if self.flip is not None else [None] * SHOWN
        for (one, other), heat in zip(self.pairs, heats, strict=False):
            named = [("one", to_levels(one)), ("the other", to_levels(other))]
            shown = named if heat is None else [*named, ("where they differ", heat)]
            figures = "".join(_figure(picture, name) for name, picture in shown)
            yield f'<div style="display:flex;flex-wrap:wrap;gap:{GAP}px">{figures}</div>'

    def _table(self) -> str:
        named = [
            ("FLIP", self.flip, 3, ""), ("SSIM", self.ssim, 4, ""), ("PSNR", self.psnr, 1, " dB"),
        ]  # fmt: skip
        rows = "".join(
            f"<tr><td>{name}</td><td>{_number(one.mean, digits)}{unit}</td>"
            f"<td>{_number(one.worst, digits)}{unit}</td></tr>"
            for name, one, digits, unit in named
            if one is not None
        )
        head = "<tr><th></th><th>everywhere</th><th>worst tile</th></tr>"
        largest = f"<div>Largest difference of a colour: {self.largest:.0f} of 255.</div>"
        return f"<table>{head}{rows}</table>{largest}"


def compare(first: Any, second: Any, scores: Collection[str] = SCORES) -> PictureDifference:
    """How far pictures differ: by FLIP, SSIM and PSNR, everywhere and in the worst tile.

    Args:
        first: the reference: a PIL picture; an array `[height, width]` or
            `[..., height, width, 3]`, or a tensor `[..., 3, height, width]`, of values in [0, 1] or
            of bytes; or a list of such. A fourth channel is opacity, on white. Whole numbers of 16
            bits are bytes, too, where none is above 255.
        second: as many, of the same sizes.
        scores: which of `"flip"`, `"ssim"` and `"psnr"` are computed.

    Raises:
        TypeError: these are no pictures.
        ValueError: they differ in number or size, have values of another range, or there is no such
            score.
        MissingPackageError: FLIP or SSIM is asked for, and `dpnb[quality]` is not installed.
    """
    given: Any = scores
    is_several = isinstance(given, Collection) and not isinstance(given, str)
    if not is_several or any(name not in SCORES for name in given):
        known = ", ".join(map(repr, SCORES))
        raise ValueError(f"scores is {scores!r}; give a list of some of {known}.")
    if set(scores) - {"psnr"}:
        needs_quality_packages()
    pairs = pair_pictures(first, second)
    maps = [map_flip(*pair) for pair in pairs] if "flip" in scores else []
    return PictureDifference(
        flip=score_flip(maps) if maps else None,
        ssim=score_ssim(pairs) if "ssim" in scores else None,
        psnr=score_psnr(pairs) if "psnr" in scores else None,
        largest=255 * max(float(np.abs(one - other).max()) for one, other in pairs),
        pairs=tuple(pairs),
        maps=tuple(maps),
    )


def _number(value: float, digits: int) -> str:
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def _figure(picture: Image.Image, name: str) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    look = "width:256px;max-width:100%;image-rendering:pixelated;display:block"
    source = f'<img src="data:image/png;base64,{data}" alt="{name}" style="{look}"/>'
    return f'<figure style="margin:0">{source}<figcaption>{name}</figcaption></figure>'


def _enlarge(picture: Image.Image, times: int) -> Image.Image:
    size = (picture.width * times, picture.height * times)
    return picture.resize(size, Image.Resampling.NEAREST)


def _stack(pictures: list[Image.Image]) -> Image.Image:
    if len(pictures) == 1:
        return pictures[0]
    width = max(picture.width for picture in pictures)
    height = sum(picture.height + GAP for picture in pictures) - GAP
    sheet, top = Image.new("RGB", (width, height), "white"), 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height + GAP
    return sheet
