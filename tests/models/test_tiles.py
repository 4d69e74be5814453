from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from dpnb.models.tiles import HIGHEST, LOWEST, Band, doubled_from, laps, rows_for, seen_by


@pytest.mark.parametrize(("height", "rows"), [(1, 1), (7, 3), (8, 4), (5, 9)])
def test_bands_follow_each_other_and_cover_the_height(height: int, rows: int) -> None:
    bands = list(Band(0, height).split(rows))
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
        seen = seen_by(band, kernel=kernel, stride=stride, padding=padding).within(16)
        assert seen == (int(rows.min()), int(rows.max()) + 1)


def test_rows_beyond_the_map_are_counted() -> None:
    assert Band(-1, 9).beyond(8) == (1, 1)
    assert Band(0, 8).beyond(8) == (0, 0)
    assert Band(-1, 9).within(8) == (0, 8)


def test_a_doubled_map_knows_where_its_rows_come_from() -> None:
    for start in range(5):
        for stop in range(start + 1, 8):
            sources = {row // 2 for row in range(start, stop)}
            assert set(range(*doubled_from(Band(start, stop)))) == sources


@pytest.mark.parametrize("height", [8, 64, 512, 1024, 8192])
def test_strips_are_a_small_part_of_any_picture(height: int) -> None:
    rows = rows_for(height)
    assert LOWEST <= rows <= HIGHEST
    assert rows <= max(height // 8, LOWEST)


@pytest.mark.parametrize("length", [1, 4, 8, 9, 14, 15, 33, 128])
@pytest.mark.parametrize(("tile", "overlap"), [(8, 2), (4, 1), (64, 16)])
def test_laps_cover_what_they_are_for_and_overlap(length: int, tile: int, overlap: int) -> None:
    tiles = laps(length, tile, overlap)
    assert [lap.start for lap in tiles] == [
        sum(lap.keep for lap in tiles[:index]) for index in range(len(tiles))
    ]
    assert sum(lap.keep for lap in tiles) == tiles[-1].stop == length
    assert tiles[0].blend == 0
    for before, lap in pairwise(tiles):
        assert before.stop - lap.start == overlap
        assert 0 < lap.blend <= overlap
        assert lap.stop - lap.start <= tile
