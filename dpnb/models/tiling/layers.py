"""Group norms and convolutions of one strip of a feature map, with the result of the whole map.

A layer is called as usual, so that hooks on it run; only the arithmetic that depends on the whole
map is replaced meanwhile.
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
"""Values whose mean is taken at once, by device type: on a CPU, as many as its cache holds."""

LARGEST_PIECE = 1 << 26
"""The same for every other device."""


class GroupStatistics:
    """Mean and variance of each group of channels of a feature map that comes strip by strip.

    Those of each strip are computed in float32, and joined by the method of Chan, Golub and LeVeque
    (1983, The American Statistician 37), so that a mean far from zero costs no precision.

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
        """Add a strip, `[batch, channels, rows, width]`."""
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
        """Mean and variance of each channel, `[batch, channels]`, once all strips are added."""
        means, squares = (
            torch.cat(v).view(len(self._counts), -1) for v in (self._means, self._squares)
        )
        counts = self._counts_like(means)
        shares = counts / counts.sum()
        mean = (means * shares).sum(dim=0)
        within = squares.sum(dim=0) / counts.sum()
        between = ((means - mean).square() * shares).sum(dim=0)
        return self._repeat_for_channels(mean), self._repeat_for_channels(within + between)

    def _counts_like(self, means: Tensor) -> Tensor:
        """Values of each strip, `[strips, 1]`, made on the device: nothing waits for it."""
        first = self._counts[0]
        counts = means.new_full((len(self._counts), 1), first)
        for index, count in enumerate(self._counts):
            if count != first:
                counts[index].fill_(count)
        return counts

    def _repeat_for_channels(self, values: Tensor) -> Tensor:
        batch, channels = self._shape
        return values.view(batch, -1).repeat_interleave(channels // self.groups, dim=1)


def _centre(values: Tensor) -> tuple[Tensor, Tensor]:
    """Means of rows `[rows]`, and the sums of squared differences from them `[rows]`."""
    mean = values.mean(dim=1, keepdim=True)
    return mean.flatten(), (values - mean).square_().sum(dim=1)


class _FunctionReplacement(TorchFunctionMode):
    """Within it calls of one function of torch call another."""

    def __init__(self, function: Callable[..., Tensor], replacement: Callable[..., Tensor]) -> None:
        super().__init__()
        self._function, self._replacement = function, replacement

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        chosen = self._replacement if func is self._function else func
        return chosen(*args, **(kwargs or {}))


def normalise_strip(norm: nn.GroupNorm, x: Tensor, statistics: GroupStatistics) -> Tensor:
    """`norm` of a strip of a map that has these `statistics`; a new tensor."""

    def group_norm(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        del groups
        return _normalise(x, statistics, weight, bias, eps)

    with _FunctionReplacement(F.group_norm, group_norm):
        return norm(x)  # type: ignore[no-any-return]


def _normalise(
    x: Tensor, statistics: GroupStatistics, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """Scale and shift every channel, in float32 whatever dtype `x` has."""
    batch, channels = x.shape[:2]
    mean, variance = statistics.per_channel
    if x.dtype is not torch.float32:
        flat = x.reshape(1, batch * channels, *x.shape[2:])
        weight, bias = weight.float().repeat(batch), bias.float().repeat(batch)
        out = F.batch_norm(flat, mean.flatten(), variance.flatten(), weight, bias, eps=eps)
        return out.view(x.shape)
    scale = weight * (variance + eps).rsqrt_()
    shift = torch.addcmul(bias, mean, scale, value=-1)
    shape = (batch, channels, 1, 1)
    return torch.addcmul(shift.view(shape), x, scale.view(shape))


def convolve_strip(conv: nn.Conv2d, x: Tensor, above: int = 0, below: int = 0) -> Tensor:
    """`conv` of a strip together with the rows of its neighbours that it needs.

    Args:
        conv: the layer.
        x: `[batch, channels, rows, width]`.
        above: rows of zeros to pad at the top, where the map ends.
        below: rows of zeros to pad at the bottom.
    """
    if above or below:
        x = F.pad(x, (0, 0, above, below))

    def conv2d(
        x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, *rest: Any
    ) -> Tensor:
        return F.conv2d(x, weight, bias, stride, (0, padding[1]), *rest)

    with _FunctionReplacement(F.conv2d, conv2d):
        return conv(x)  # type: ignore[no-any-return]


def call_with_hooks(block: nn.Module, compute: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Call `block` with `compute` in place of its `forward`: `compute(x)`, and all hooks.

    Other threads that call the block meanwhile run its own `forward`, or their own `compute`.
    """
    own = vars(block)
    with _LOCK:
        forward = own.get("forward")
        if not isinstance(forward, _ForwardByThread):
            forward = own["forward"] = _ForwardByThread(block)
        forward.computes[get_ident()] = compute
    try:
        return block(x)  # type: ignore[no-any-return]
    finally:
        with _LOCK:
            del forward.computes[get_ident()]
            if not forward.computes:
                del own["forward"]
                own.update(forward.former)


_LOCK = Lock()


class _ForwardByThread:
    """A block's `forward` while some threads replace it; other threads get the block's own.

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
