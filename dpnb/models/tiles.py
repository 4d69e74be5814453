"""Where strips and tiles of a picture begin and end: pure functions of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

LOWEST, HIGHEST = 8, 32
"""Rows of the strips that are chosen by default, at least and at most."""

STRIPS = 32
"""So many strips are aimed at in a picture's height."""


class Band(NamedTuple):
    """Rows from `start` to before `stop`; or columns, or anything else in a row."""

    start: int
    stop: int

    @property
    def height(self) -> int:
        """How many there are."""
        return self.stop - self.start

    def split(self, rows: int) -> Iterator[Band]:
        """Bands of `rows`, from top to bottom; the last one has what is left."""
        starts = range(self.start, self.stop, rows)
        return (Band(start, min(start + rows, self.stop)) for start in starts)

    def within(self, height: int) -> Band:
        """Those of the rows that a map of `height` rows has."""
        return Band(max(self.start, 0), min(self.stop, height))

    def beyond(self, height: int) -> tuple[int, int]:
        """How many of the rows lie above and below a map of `height` rows."""
        return max(-self.start, 0), max(self.stop - height, 0)


def seen_by(band: Band, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> Band:
    """The rows that a convolution looks at for the rows `band` of its result."""
    first = band.start * stride - padding
    return Band(first, (band.stop - 1) * stride - padding + kernel)


def doubled_from(band: Band) -> Band:
    """The rows of a map of which the rows `band` of the doubled map are copies."""
    return Band(band.start // 2, (band.stop + 1) // 2)


def rows_for(height: int) -> int:
    """Rows of a strip that saves memory in a picture of `height` rows.

    Each layer computes a few strips at a time beside the map that it works on, so that lower strips
    need less memory; below `LOWEST` rows, what neighbours share would cost more than that saves.
    """
    return min(max(height // STRIPS, LOWEST), HIGHEST)


class Lap(NamedTuple):
    """One of several tiles along one side that overlap, all in latents.

    Attributes:
        start: where it begins.
        stop: where it ends.
        keep: so much of its beginning comes into the picture.
        blend: so much of its beginning is blended with the end of the tile before.
    """

    start: int
    stop: int
    keep: int
    blend: int


def laps(length: int, tile: int, overlap: int) -> list[Lap]:
    """As few tiles as cover `length`; each overlaps the one before, and the last may be shorter."""
    stride = tile - overlap
    last = max(-(-(length - tile) // stride), 0) * stride
    inner = [
        Lap(start, start + tile, stride, overlap if start else 0)
        for start in range(0, last, stride)
    ]
    rest = length - last
    return [*inner, Lap(last, length, rest, min(overlap, rest) if last else 0)]
