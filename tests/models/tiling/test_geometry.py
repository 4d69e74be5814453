from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from dpnb.models.tiling.geometry import (
    LEAST_ROWS,
    MOST_ROWS,
    Band,
    choose_strip_rows,
    divide_into_tiles,
    receptive_field,
    source_rows,
)


@pytest.mark.parametrize(("height", "rows"), [(1, 1), (7, 3), (8, 4), (5, 9)])
def test_bands_follow_each_other_and_cover_the_height(height: int, rows: int) -> None:
    bands = list(Band(0, height).divide(rows))
    assert [band.start for band in bands] == [0, *(band.stop for band in bands[:-1])]
    assert bands[-1].stop == height
    assert all(band.height == rows for band in bands[:-1])


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 0), (1, 1, 0)])
def test_a_band_sees_the_rows_that_its_result_depends_on(
    kernel: int, stride: int, padding: int
) -> None:
    for band in (Band(0, 2), Band(1, 3), Band(2, 5)):
        x = torch.zeros(1, 1, 16, 1, requires_grad=True)
        weight = torch.ones(1, 1, kernel, 1)
        out = F.conv2d(x, weight, stride=stride, padding=(padding, 0))
        out[:, :, band.start : band.stop].sum().backward()
        assert x.grad is not None
        rows = x.grad.flatten().nonzero().flatten()
        seen = receptive_field(band, kernel=kernel, stride=stride, padding=padding).clip(16)
        assert seen == (int(rows.min()), int(rows.max()) + 1)


def test_rows_beyond_the_map_are_counted() -> None:
    assert Band(-1, 9).overhang(8) == (1, 1)
    assert Band(0, 8).overhang(8) == (0, 0)
    assert Band(-1, 9).clip(8) == (0, 8)


def test_a_doubled_map_knows_where_its_rows_come_from() -> None:
    for start in range(5):
        for stop in range(start + 1, 8):
            sources = {row // 2 for row in range(start, stop)}
            assert set(range(*source_rows(Band(start, stop)))) == sources


@pytest.mark.parametrize("height", [8, 64, 512, 1024, 8192])
def test_strips_are_a_small_part_of_any_picture(height: int) -> None:
    rows = choose_strip_rows(height)
    assert LEAST_ROWS <= rows <= MOST_ROWS
    assert rows <= max(height // 8, LEAST_ROWS)


@pytest.mark.parametrize("length", [1, 4, 8, 9, 14, 15, 33, 128])
@pytest.mark.parametrize(("tile", "overlap"), [(8, 2), (4, 1), (64, 16)])
def test_tiles_cover_the_length_and_overlap(length: int, tile: int, overlap: int) -> None:
    tiles = divide_into_tiles(length, tile, overlap)
    assert [span.start for span in tiles] == [
        sum(span.keep for span in tiles[:index]) for index in range(len(tiles))
    ]
    assert sum(span.keep for span in tiles) == tiles[-1].stop == length
    assert tiles[0].blend == 0
    for before, span in pairwise(tiles):
        assert before.stop - span.start == overlap
        assert 0 < span.blend <= overlap
        assert span.stop - span.start <= tile
