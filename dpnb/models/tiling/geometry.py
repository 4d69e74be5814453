"""Where strips and tiles of a picture begin and end: pure functions of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

LEAST_ROWS, MOST_ROWS = 8, 32
"""Rows of the strips that are chosen by default, at least and at most."""

STRIPS = 32
"""Strips of a picture by default, as near as the bounds above allow."""


class Band(NamedTuple):
    """The rows from `start` up to but without `stop`; or columns, or any other range."""

    start: int
    stop: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    def divide(self, rows: int) -> Iterator[Band]:
        """Bands of `rows`, from top to bottom; the last one may be lower."""
        starts = range(self.start, self.stop, rows)
        return (Band(start, min(start + rows, self.stop)) for start in starts)

    def clip(self, height: int) -> Band:
        """The rows that lie in a map of `height` rows."""
        return Band(max(self.start, 0), min(self.stop, height))

    def overhang(self, height: int) -> tuple[int, int]:
        """How many rows lie above and below a map of `height` rows."""
        return max(-self.start, 0), max(self.stop - height, 0)


def receptive_field(band: Band, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> Band:
    """The rows that a convolution reads to compute the rows `band` of its output."""
    first = band.start * stride - padding
    return Band(first, (band.stop - 1) * stride - padding + kernel)


def source_rows(band: Band) -> Band:
    """The rows of a map that nearest-neighbour upsampling copies to the rows `band`."""
    return Band(band.start // 2, (band.stop + 1) // 2)


def choose_strip_rows(height: int) -> int:
    """Rows of a strip that saves memory in a picture of `height` rows.

    Each layer computes a few strips at a time beside the map that it works on, so that lower strips
    need less memory; below `LEAST_ROWS` rows, the rows that neighbours share would cost more.
    """
    return min(max(height // STRIPS, LEAST_ROWS), MOST_ROWS)


class TileSpan(NamedTuple):
    """Where one of several overlapping tiles lies along one side, in latents.

    Attributes:
        start: where it begins.
        stop: where it ends.
        keep: length of its beginning that comes into the picture.
        blend: length of its beginning that is blended with the end of the tile before.
    """

    start: int
    stop: int
    keep: int
    blend: int


def divide_into_tiles(length: int, tile: int, overlap: int) -> list[TileSpan]:
    """As few tiles as cover `length`; each overlaps the one before, and the last may be shorter."""
    stride = tile - overlap
    last = max(-(-(length - tile) // stride), 0) * stride
    inner = [
        TileSpan(start, start + tile, stride, overlap if start else 0)
        for start in range(0, last, stride)
    ]
    rest = length - last
    return [*inner, TileSpan(last, length, rest, min(overlap, rest) if last else 0)]
