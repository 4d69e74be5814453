"""Layers that run over the strips of a feature map: the same result in less memory.

A layer takes the strips of a map one after the other, each with the rows of its neighbours that its
convolution reads, and releases the rows that no later strip needs. Layers are chained: a strip goes
through as many as it can, up to the next group normalisation, which needs the whole map first. So
at most two maps of one size are stored at a time, and an upsampled map is never stored before its
convolution.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from dpnb.models.tiling.geometry import Band, receptive_field, source_rows
from dpnb.models.tiling.layers import (
    GroupStatistics,
    call_with_hooks,
    convolve_strip,
    normalise_strip,
)
from dpnb.models.tiling.stores import DeviceStrip, StoredStrip, StripStore
from dpnb.nn.attention import PictureAttention
from dpnb.nn.inplace import add, silu
from dpnb.nn.resampling import Downsample, Upsample
from dpnb.nn.resnet import ResnetBlock

LARGEST_MATRIX = 1 << 24
"""Entries of the attention matrix, at most, where a kernel builds it."""

ROWS_AT_ONCE = 8
"""Rows of latents whose keys and values are computed at once."""


class Strips:
    """A feature map `[batch, channels, height, width]` in strips, computed when they are needed.

    Args:
        strips: from top to bottom; iterating computes them.
        height: rows of the whole map.
        rows: rows of a strip, but for the last.
        store: keeps the strips of a map that is needed as a whole.

    Attributes:
        statistics: those of the whole map, for the norm that it was computed for.
    """

    statistics: GroupStatistics

    def __init__(self, strips: Iterator[Tensor], height: int, rows: int, store: StripStore) -> None:
        self.height, self._rows, self._store = height, rows, store
        self._strips = strips
        self._stored: deque[tuple[int, StoredStrip]] = deque()
        self._end = 0

    @classmethod
    def of(cls, whole: Tensor, rows: int, store: StripStore) -> Self:
        """The strips of a tensor, `[batch, channels, height, width]`."""
        height = whole.shape[2]
        strips = (whole[:, :, start:stop] for start, stop in Band(0, height).divide(rows))
        return cls(strips, height, rows, store)

    def derive(self, compute: Callable[[Band], Tensor], height: int | None = None) -> Strips:
        """The map whose rows of each band `compute` returns; it reads those of this one."""
        height = self.height if height is None else height
        strips = map(compute, Band(0, height).divide(self._rows))
        return Strips(strips, height, self._rows, self._store)

    def new_empty(self) -> Strips:
        """A map of as many rows, still without any; `append` adds them."""
        return Strips(iter(()), self.height, self._rows, self._store)

    def append(self, strip: Tensor) -> None:
        """Put the next strip into the store."""
        self._append(self._store.add(strip))

    def compute_all(self, norm: nn.GroupNorm) -> Self:
        """Compute and store the whole map, and take its statistics for `norm`."""
        self.statistics = GroupStatistics(norm.num_groups)
        while self._end < self.height:
            self._compute_next()
        self._strips = iter(())
        return self

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows from `start` to `stop`; do not write to them: they may be a view of a strip."""
        while self._end < stop:
            self._append(DeviceStrip(next(self._strips)))
        pieces = [
            strip.rows(max(start - first, 0), min(stop - first, strip.height))
            for first, strip in self._stored
            if first < stop and start < first + strip.height
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)

    def release(self, before: int) -> None:
        """Drop the strips that end above the row `before`."""
        while self._stored and self._stored[0][0] + self._stored[0][1].height <= before:
            self._stored.popleft()

    def to_tensor(self) -> Tensor:
        """The whole map as one tensor, where none of its strips is computed yet."""
        return stack_strips(self._strips, self.height)

    def _compute_next(self) -> None:
        strip = next(self._strips)
        self.statistics.add(strip)
        self.append(strip)

    def _append(self, strip: StoredStrip) -> None:
        self._stored.append((self._end, strip))
        self._end += strip.height


def stack_strips(strips: Iterable[Tensor], height: int) -> Tensor:
    """Strips below each other in one tensor of `height` rows."""
    out = torch.empty(0)
    start = 0
    for strip in strips:
        if not start:
            out = strip.new_empty(*strip.shape[:2], height, strip.shape[3])
        out[:, :, start : start + strip.shape[2]] = strip
        start += strip.shape[2]
    return out


def run_convolution(conv: nn.Conv2d, x: Strips) -> Strips:
    """A convolution of stride one."""

    def compute(band: Band) -> Tensor:
        return _run_layer(x, band, lambda rows, *padding: convolve_strip(conv, rows, *padding))

    return x.derive(compute)


def run_norm_and_convolution(norm: nn.GroupNorm, conv: nn.Conv2d, x: Strips) -> Strips:
    """Norm, SiLU and a convolution."""
    x.compute_all(norm)
    return x.derive(
        lambda band: _run_layer(x, band, _norm_and_convolution(norm, conv, x.statistics))
    )


def run_resnet(block: ResnetBlock, x: Strips) -> Strips:
    """A residual block without time embedding."""
    x.compute_all(block.norm1)
    first = _norm_and_convolution(block.norm1, block.conv1, x.statistics, block)
    shortcut = x.new_empty() if block.has_shortcut else x

    def begin(band: Band) -> Tensor:
        if not block.has_shortcut:
            return _run_layer(x, band, first, release=False)
        shortcut.append(call_with_hooks(block, block.conv_shortcut, x.rows(*band)))
        return _run_layer(x, band, first)

    h = x.derive(begin).compute_all(block.norm2)
    second = _norm_and_convolution(block.norm2, block.conv2, h.statistics, block)

    def finish(band: Band) -> Tensor:
        y = add(_run_layer(h, band, second), shortcut.rows(*band))
        shortcut.release(band.stop)
        return y

    return h.derive(finish)


Layer = Callable[[Tensor, int, int], Tensor]
"""Rows with their neighbours, and how many rows to pad above and below → a strip."""


def _norm_and_convolution(
    norm: nn.GroupNorm,
    conv: nn.Conv2d,
    statistics: GroupStatistics,
    block: nn.Module | None = None,
) -> Layer:
    """Norm, SiLU and convolution, called with the hooks of the block that they belong to."""

    def layer(rows: Tensor, above: int, below: int) -> Tensor:
        def compute(rows: Tensor) -> Tensor:
            return convolve_strip(conv, silu(normalise_strip(norm, rows, statistics)), above, below)

        return compute(rows) if block is None else call_with_hooks(block, compute, rows)

    return layer


def _run_layer(x: Strips, band: Band, layer: Layer, *, release: bool = True) -> Tensor:
    """`layer` of the rows of `band` and one more on either side; read rows are released."""
    field = receptive_field(band)
    out = layer(x.rows(*field.clip(x.height)), *field.overhang(x.height))
    if release:
        x.release(band.stop - 1)
    return out


def run_attention(attention: PictureAttention, x: Strips) -> Strips:
    """Attention of all positions to all; the keys and values are stored, the queries are not."""
    x.compute_all(attention.group_norm)

    def project(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens = (
            normalise_strip(attention.group_norm, rows, x.statistics).flatten(2).transpose(1, 2)
        )
        return attention.projection(attention, tokens, tokens)

    key, value = _project_keys_and_values(attention, x, project)
    at_once = max(LARGEST_MATRIX * x.height // key.shape[1] // key[..., 0].numel(), 1)

    def attend(rows: Tensor) -> Tensor:
        query, *_ = project(rows)
        out = attention.project_out(attention.attend(query, key, value))
        return add(out.transpose(1, 2).reshape(rows.shape), rows)

    def compute(band: Band) -> Tensor:
        parts = (call_with_hooks(attention, attend, x.rows(*part)) for part in band.divide(at_once))
        out = stack_strips(parts, band.height)
        x.release(band.stop)
        return out

    return x.derive(compute)


def _project_keys_and_values(
    attention: PictureAttention,
    x: Strips,
    project: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
) -> list[Tensor]:
    """Keys and values of every position, each `[batch, height * width, dim]`."""
    both: list[Tensor] = []

    def fill(band: Band, rows: Tensor) -> Tensor:
        _, *parts = project(rows)
        width = rows.shape[3]
        if not both:
            both.extend(p.new_empty(p.shape[0], x.height * width, p.shape[2]) for p in parts)
        for whole, part in zip(both, parts, strict=True):
            whole[:, band.start * width : band.stop * width] = part
        return rows

    for band in Band(0, x.height).divide(ROWS_AT_ONCE):
        call_with_hooks(attention, partial(fill, band), x.rows(*band))
    return both


def run_upsample(upsample: Upsample, x: Strips) -> Strips:
    """Nearest-neighbour upsampling, then a convolution; the doubled map is never stored."""
    height = 2 * x.height

    def compute(band: Band) -> Tensor:
        field = receptive_field(band)
        inside = field.clip(height)
        source = source_rows(inside)

        def upsample_rows(rows: Tensor) -> Tensor:
            doubled = _double(rows, inside, source.start)
            return convolve_strip(upsample.conv, doubled, *field.overhang(height))

        out = call_with_hooks(upsample, upsample_rows, x.rows(*source))
        x.release((band.stop - 1) // 2)
        return out

    return x.derive(compute, height)


def _double(x: Tensor, rows: Band, first: int) -> Tensor:
    """The rows `rows` of the upsampled map; the first row of `x` is `first` of the map."""
    batch, channels, _, width = x.shape
    out = x.new_empty(batch, channels, rows.stop - rows.start, 2 * width)
    for begin in (rows.start, rows.start + 1):
        copies = out[:, :, begin - rows.start :: 2]
        source = x[:, :, begin // 2 - first :][:, :, : copies.shape[2]]
        copies.unflatten(3, (width, 2)).copy_(source.unsqueeze(4).expand(-1, -1, -1, -1, 2))
    return out


def run_downsample(downsample: Downsample, x: Strips) -> Strips:
    """A convolution of stride two, padded by a row below and a column to the right."""

    def compute(band: Band) -> Tensor:
        field = receptive_field(band, stride=2, padding=0)
        _, below = field.overhang(x.height)
        rows = F.pad(x.rows(*field.clip(x.height)), (0, 1, 0, below))
        x.release(field.stop - 1)
        return call_with_hooks(downsample, partial(convolve_strip, downsample.conv), rows)

    return x.derive(compute, x.height // 2)
