"""An autoencoder's networks, run over strips of rows: the same function in less memory.

A layer takes the strips of a map one after the other, each with the rows of its neighbours that its
convolution looks at, and gives back what nothing after it needs. Layers are chained: a strip goes
through as many as it can, up to the next group normalisation, which has to see the whole map first.
So at most two maps of one size wait at a time, and those of the upsampled size that come before a
convolution are never whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from dpnb.models.stores import Held, Kept, Store
from dpnb.models.tiles import Band, doubled_from, seen_by
from dpnb.nn.attention import PictureAttention
from dpnb.nn.inplace import add, silu
from dpnb.nn.piecewise import Moments, convolve, normalise, within
from dpnb.nn.resampling import Downsample, Upsample
from dpnb.nn.resnet import ResnetBlock

LARGEST_MATRIX = 1 << 24
"""Where a kernel builds the matrix of queries and keys, it has at most so many entries at once."""

PROJECTED = 8
"""Rows of latents whose keys and values are made at once."""


class Strips:
    """A feature map `[batch, channels, height, width]` in strips, made when they are asked for.

    Args:
        made: the strips, from top to bottom.
        height: rows of the whole map.
        rows: rows of a strip, but for the last.
        store: keeps the strips of a map that has to be there as a whole.
    """

    moments: Moments

    def __init__(self, made: Iterator[Tensor], height: int, rows: int, store: Store) -> None:
        self.height, self._rows, self._store = height, rows, store
        self._made = made
        self._kept: deque[tuple[int, Kept]] = deque()
        self._end = 0

    @classmethod
    def of(cls, whole: Tensor, rows: int, store: Store) -> Self:
        """The strips of a tensor."""
        height = whole.shape[2]
        made = (whole[:, :, start:stop] for start, stop in Band(0, height).split(rows))
        return cls(made, height, rows, store)

    def then(self, make: Callable[[Band], Tensor], height: int | None = None) -> Strips:
        """The map whose rows of each band `make` computes from this one."""
        height = self.height if height is None else height
        made = map(make, Band(0, height).split(self._rows))
        return Strips(made, height, self._rows, self._store)

    def beside(self) -> Strips:
        """A map of as many rows, still without any; `put` adds them."""
        return Strips(iter(()), self.height, self._rows, self._store)

    def put(self, strip: Tensor) -> None:
        """Add the next strip of a map that waits as a whole."""
        self._keep(self._store.keep(strip))

    def settle(self, norm: nn.GroupNorm) -> Self:
        """Have the whole map made, and its moments taken for `norm`."""
        self.moments = Moments(norm.num_groups)
        while self._end < self.height:
            self._settle_next()
        self._made = iter(())
        return self

    def rows(self, start: int, stop: int) -> Tensor:
        """Some rows, which may be those of a strip itself: not to be written to."""
        while self._end < stop:
            self._keep(Held(next(self._made)))
        pieces = [
            kept.rows(max(start - first, 0), min(stop - first, kept.height))
            for first, kept in self._kept
            if first < stop and start < first + kept.height
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)

    def forget(self, before: int) -> None:
        """Give back the strips that end before this row."""
        while self._kept and self._kept[0][0] + self._kept[0][1].height <= before:
            self._kept.popleft()

    def whole(self) -> Tensor:
        """The whole map as one tensor."""
        return stacked(self._made, self.height)

    def _settle_next(self) -> None:
        strip = next(self._made)
        self.moments.add(strip)
        self.put(strip)

    def _keep(self, kept: Kept) -> None:
        self._kept.append((self._end, kept))
        self._end += kept.height


def stacked(strips: Iterable[Tensor], height: int) -> Tensor:
    """Strips below each other in one tensor of `height` rows, written there as they come."""
    out = torch.empty(0)
    start = 0
    for strip in strips:
        if not start:
            out = strip.new_empty(*strip.shape[:2], height, strip.shape[3])
        out[:, :, start : start + strip.shape[2]] = strip
        start += strip.shape[2]
    return out


def convolved(conv: nn.Conv2d, x: Strips) -> Strips:
    """A convolution."""

    def make(band: Band) -> Tensor:
        return _take(x, band, lambda rows, *lacking: convolve(conv, rows, *lacking))

    return x.then(make)


def activated(norm: nn.GroupNorm, conv: nn.Conv2d, x: Strips) -> Strips:
    """Norm, SiLU and a convolution of a map that is settled for the norm."""
    x.settle(norm)
    return x.then(lambda band: _take(x, band, _active(norm, conv, x.moments)))


def residual(block: ResnetBlock, x: Strips) -> Strips:
    """A residual block without time embedding."""
    x.settle(block.norm1)
    first = _active(block.norm1, block.conv1, x.moments, block)
    beside = x.beside() if block.has_shortcut else x

    def begin(band: Band) -> Tensor:
        if not block.has_shortcut:
            return _take(x, band, first, forget=False)
        beside.put(within(block, block.conv_shortcut, x.rows(*band)))
        return _take(x, band, first)

    h = x.then(begin).settle(block.norm2)
    second = _active(block.norm2, block.conv2, h.moments, block)

    def finish(band: Band) -> Tensor:
        y = add(_take(h, band, second), beside.rows(*band))
        beside.forget(band.stop)
        return y

    return h.then(finish)


Layer = Callable[[Tensor, int, int], Tensor]
"""Rows with their neighbours, and how many of these are missing above and below → a strip."""


def _active(
    norm: nn.GroupNorm, conv: nn.Conv2d, moments: Moments, block: nn.Module | None = None
) -> Layer:
    """Norm, SiLU and convolution, within the block that they belong to."""

    def layer(rows: Tensor, above: int, below: int) -> Tensor:
        def compute(rows: Tensor) -> Tensor:
            return convolve(conv, silu(normalise(norm, rows, moments)), above, below)

        return compute(rows) if block is None else within(block, compute, rows)

    return layer


def _take(x: Strips, band: Band, layer: Layer, *, forget: bool = True) -> Tensor:
    """`layer` of the rows of `band` and one more on either side; the last rows are kept."""
    seen = seen_by(band)
    out = layer(x.rows(*seen.within(x.height)), *seen.beyond(x.height))
    if forget:
        x.forget(band.stop - 1)
    return out


def attended(attention: PictureAttention, x: Strips) -> Strips:
    """Attention of all positions to all; keys and values are there as a whole, queries are not."""
    x.settle(attention.group_norm)

    def project(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens = normalise(attention.group_norm, rows, x.moments).flatten(2).transpose(1, 2)
        return attention.projection(attention, tokens, tokens)

    key, value = _keys_and_values(attention, x, project)
    at_once = max(LARGEST_MATRIX * x.height // key.shape[1] // key[..., 0].numel(), 1)

    def attend(rows: Tensor) -> Tensor:
        query, *_ = project(rows)
        found = attention.project_out(attention.attend(query, key, value))
        return add(found.transpose(1, 2).reshape(rows.shape), rows)

    def make(band: Band) -> Tensor:
        parts = (within(attention, attend, x.rows(*part)) for part in band.split(at_once))
        out = stacked(parts, band.height)
        x.forget(band.stop)
        return out

    return x.then(make)


def _keys_and_values(
    attention: PictureAttention,
    x: Strips,
    project: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
) -> list[Tensor]:
    """Those of every position, `[batch, height * width, dim]`, written where they stay."""
    both: list[Tensor] = []

    def fill(band: Band, rows: Tensor) -> Tensor:
        _, *parts = project(rows)
        width = rows.shape[3]
        if not both:
            both.extend(p.new_empty(p.shape[0], x.height * width, p.shape[2]) for p in parts)
        for whole, part in zip(both, parts, strict=True):
            whole[:, band.start * width : band.stop * width] = part
        return rows

    for band in Band(0, x.height).split(PROJECTED):
        within(attention, partial(fill, band), x.rows(*band))
    return both


def upsampled(upsample: Upsample, x: Strips) -> Strips:
    """Nearest neighbours, then a convolution; the doubled map is never whole."""
    height = 2 * x.height

    def make(band: Band) -> Tensor:
        seen = seen_by(band)
        here = seen.within(height)
        source = doubled_from(here)

        def compute(rows: Tensor) -> Tensor:
            doubled = _double(rows, here, source.start)
            return convolve(upsample.conv, doubled, *seen.beyond(height))

        out = within(upsample, compute, x.rows(*source))
        x.forget((band.stop - 1) // 2)
        return out

    return x.then(make, height)


def _double(x: Tensor, rows: Band, first: int) -> Tensor:
    """The rows `rows` of the doubled map, of which `x` begins with the copies of row `first`."""
    batch, channels, _, width = x.shape
    out = x.new_empty(batch, channels, rows.stop - rows.start, 2 * width)
    for begin in (rows.start, rows.start + 1):
        copies = out[:, :, begin - rows.start :: 2]
        source = x[:, :, begin // 2 - first :][:, :, : copies.shape[2]]
        copies.unflatten(3, (width, 2)).copy_(source.unsqueeze(4).expand(-1, -1, -1, -1, 2))
    return out


def downsampled(downsample: Downsample, x: Strips) -> Strips:
    """A convolution of stride two that lacks a row below and a column to the right."""

    def make(band: Band) -> Tensor:
        seen = seen_by(band, stride=2, padding=0)
        _, below = seen.beyond(x.height)
        rows = F.pad(x.rows(*seen.within(x.height)), (0, 1, 0, below))
        x.forget(seen.stop - 1)
        return within(downsample, partial(convolve, downsample.conv), rows)

    return x.then(make, x.height // 2)
