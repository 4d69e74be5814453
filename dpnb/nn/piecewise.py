"""Group normalisation with the statistics of a whole feature map, of which only strips are there.

A layer is called as ever, so that hooks on it do their work; only the arithmetic that depends on
the whole map is replaced while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from threading import Lock, get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from typing_extensions import override

PIECE = {"cpu": 1 << 20}
"""Values that are centred at once: so many as the processor's cache holds."""

LARGEST_PIECE = 1 << 26
"""Likewise on every other device."""


class Moments:
    """Mean and variance of each group of channels, over strips that come one after the other.

    Each strip has its own, in float32; they are joined as Chan, Golub and LeVeque (1983, The
    American Statistician 37) do, so that a mean far from zero costs no precision.

    Args:
        groups: groups of the norm.
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self._shape: Sequence[int] = ()
        self._counts: list[int] = []
        self._means: list[Tensor] = []
        self._squares: list[Tensor] = []

    def add(self, strip: Tensor) -> None:
        """Take `[batch, channels, rows, width]` in."""
        self._shape = strip.shape[:2]
        values = strip.reshape(strip.shape[0] * self.groups, -1)
        at_once = max(PIECE.get(strip.device.type, LARGEST_PIECE) // values.shape[1], 1)
        for piece in values.split(at_once):
            mean, squares = _centre(piece.float())
            self._means.append(mean)
            self._squares.append(squares)
        self._counts.append(values.shape[1])

    @cached_property
    def per_channel(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel, `[batch, channels]`, once all strips are in."""
        means, squares = (
            torch.cat(v).view(len(self._counts), -1) for v in (self._means, self._squares)
        )
        counts = self._counts_like(means)
        shares = counts / counts.sum()
        mean = (means * shares).sum(dim=0)
        within = squares.sum(dim=0) / counts.sum()
        between = ((means - mean).square() * shares).sum(dim=0)
        return self._spread(mean), self._spread(within + between)

    def _counts_like(self, means: Tensor) -> Tensor:
        """Values of each strip, `[strips, 1]`, made on the device: it is not waited for."""
        first = self._counts[0]
        counts = means.new_full((len(self._counts), 1), first)
        for index, count in enumerate(self._counts):
            if count != first:
                counts[index].fill_(count)
        return counts

    def _spread(self, values: Tensor) -> Tensor:
        batch, channels = self._shape
        return values.view(batch, -1).repeat_interleave(channels // self.groups, dim=1)


def _centre(values: Tensor) -> tuple[Tensor, Tensor]:
    """Means of rows, and the sums of squared differences from them."""
    mean = values.mean(dim=1, keepdim=True)
    return mean.flatten(), (values - mean).square_().sum(dim=1)


class _Instead(TorchFunctionMode):
    """One function of torch is computed by another within."""

    def __init__(self, function: Callable[..., Tensor], instead: Callable[..., Tensor]) -> None:
        super().__init__()
        self._function, self._instead = function, instead

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        chosen = self._instead if func is self._function else func
        return chosen(*args, **(kwargs or {}))


def normalise(norm: nn.GroupNorm, x: Tensor, moments: Moments) -> Tensor:
    """`norm` of a strip of a map that has these `moments`; a new tensor."""

    def group_norm(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        del groups
        return _affine(x, moments, weight, bias, eps)

    with _Instead(F.group_norm, group_norm):
        return norm(x)  # type: ignore[no-any-return]


def _affine(x: Tensor, moments: Moments, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Scale and shift every channel, in float32 whatever dtype `x` has."""
    batch, channels = x.shape[:2]
    mean, variance = moments.per_channel
    if x.dtype is not torch.float32:
        flat = x.reshape(1, batch * channels, *x.shape[2:])
        weight, bias = weight.float().repeat(batch), bias.float().repeat(batch)
        out = F.batch_norm(flat, mean.flatten(), variance.flatten(), weight, bias, eps=eps)
        return out.view(x.shape)
    scale = weight * (variance + eps).rsqrt_()
    shift = torch.addcmul(bias, mean, scale, value=-1)
    shape = (batch, channels, 1, 1)
    return torch.addcmul(shift.view(shape), x, scale.view(shape))


def convolve(conv: nn.Conv2d, x: Tensor, above: int = 0, below: int = 0) -> Tensor:
    """`conv` of a strip that has its neighbours' rows with it.

    Args:
        conv: the layer.
        x: `[batch, channels, rows, width]`.
        above: rows of zeros that it lacks at the top, where the picture ends.
        below: likewise at the bottom.
    """
    if above or below:
        x = F.pad(x, (0, 0, above, below))

    def conv2d(
        x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, *rest: Any
    ) -> Tensor:
        return F.conv2d(x, weight, bias, stride, (0, padding[1]), *rest)

    with _Instead(F.conv2d, conv2d):
        return conv(x)  # type: ignore[no-any-return]


def within(block: nn.Module, compute: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`compute(x)` in place of the block's own work, so that hooks on the block do theirs.

    Other threads that call the block meanwhile are served as ever, or by their own `compute`.
    """
    own = vars(block)
    with _EXCHANGING:
        exchange = own.get("forward")
        if not isinstance(exchange, _Exchange):
            exchange = own["forward"] = _Exchange(block)
        exchange.computes[get_ident()] = compute
    try:
        return block(x)  # type: ignore[no-any-return]
    finally:
        with _EXCHANGING:
            del exchange.computes[get_ident()]
            if not exchange.computes:
                del own["forward"]
                own.update(exchange.former)


_EXCHANGING = Lock()


class _Exchange:
    """What a block computes, by the thread that asks; others get its own work.

    Args:
        block: the block.
    """

    def __init__(self, block: nn.Module) -> None:
        own = vars(block)
        self.former = {"forward": own["forward"]} if "forward" in own else {}
        self.computes: dict[int, Callable[[Tensor], Tensor]] = {}
        self._forward: Callable[..., Any] = block.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        compute: Callable[..., Any] = self.computes.get(get_ident(), self._forward)
        return compute(*args, **kwargs)
