"""How attention is computed: over a few heads at a time, or by xFormers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.models.autoencoder import Autoencoder
from dpnb.nn.attention import Attention
from dpnb.nn.attention_calls import AttentionCall, attend_in_slices
from dpnb.nn.attention_kernels import SlicedKernel, XFormersKernel
from dpnb.numbers import to_builtin
from dpnb.silence import silence_imports
from dpnb.stages import Stage
from dpnb.strategies.attention_mode import (
    attention_mode_obstacle,
    count_heads,
    replace_attention,
)
from dpnb.strategies.networks import Networks
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo
from dpnb.switchboard import SliceSize

LIKELY_HEAD = 64
"""Channels of a head, where nobody says how many there are before it computes."""

Head = tuple[int, torch.dtype]
"""Its channels, and what it computes in."""


@dataclass(frozen=True, repr=False)
class AttentionSlicing(Strategy):
    """Compute attention over a few heads at a time.

    Torch's fused attention holds no attention matrix to begin with, so that this saves little
    where it runs; in a network that dpnb did not write it is left as it is. It never costs memory.

    Args:
        slice_size: `"auto"` takes two steps, `"max"` one head at a time, a number so many heads.
    """

    slice_size: SliceSize = field(
        default="auto",
        metadata=hints("heads at once", low=1, limits=lambda networks: (1, most_heads(networks))),
    )
    slot: ClassVar = Slot.KERNEL_WRAPPER
    relieves: ClassVar = frozenset({Stage.DENOISING})

    @override
    def __post_init__(self) -> None:
        size = to_builtin(self.slice_size)
        object.__setattr__(self, "slice_size", size)
        if size in ("auto", "max"):
            return
        if not isinstance(size, int) or isinstance(size, bool):
            raise TypeError(
                f'slice_size is {size!r}; use "auto", "max" or a number of heads such as 2.'
            )
        if size < 1:
            raise ValueError(f'slice_size is {size}; use at least 1, or "auto" or "max".')

    @override
    def obstacle(self, networks: Networks) -> str | None:
        most = most_heads(networks)
        if (reason := _no_attention("Attention slicing", networks)) is not None:
            return reason
        if most and isinstance(self.slice_size, int) and self.slice_size > most:
            return (
                f"slice_size is {self.slice_size}, but no attention here has more than {most} "
                f'heads; use at most {most}, or "auto" or "max".'
            )
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Wrap every kernel, but for those of xFormers, which hold no attention matrix at all."""
        for attention in networks.modules_of(Attention):
            if not isinstance(attention.kernel, XFormersKernel):
                kernel = SlicedKernel(attention.kernel, self._heads_at_once(attention.heads))
                undo.set(attention, "kernel", kernel)
        for _, network in _without_slots(networks):
            replace_attention(network, self._attend, undo)

    def _attend(self, call: AttentionCall) -> Tensor:
        if not call.is_sliceable or not call.builds_matrix:
            return call.compute()
        return attend_in_slices(call, self._heads_at_once(call.heads))

    def _heads_at_once(self, heads: int) -> int:
        match self.slice_size:
            case "auto":
                return max(heads // 2, 1)
            case "max":
                return 1
            case size:
                return size


@dataclass(frozen=True, repr=False)
class XFormers(Strategy):
    """Attention by xFormers' memory-efficient kernel.

    It is tried with a small operation for every head size and dtype; where it cannot run, that
    layer keeps torch's fused attention.

    Args:
        attention_op: the name of an operator in `xformers.ops`; it chooses by itself without one.
        components: the components whose attention is computed so; all of them by default.
    """

    attention_op: str | None = None
    components: tuple[str, ...] = ()
    slot: ClassVar = Slot.KERNEL
    label: ClassVar = "xFormers"
    package: ClassVar = "xformers"
    relieves: ClassVar = frozenset({Stage.DENOISING})

    @override
    def obstacle(self, networks: Networks) -> str | None:
        layers, refusals = self._heads(networks), self.refusals(networks)
        if not layers:
            if (reason := _no_attention("xFormers", networks, *self.components)) is not None:
                return reason
            return self.try_head(networks.device, *self._likely_head(networks))
        reasons = [_first_reason(refusals, heads) for heads in layers.values()]
        return None if None in reasons else reasons[0]

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Fill the kernels that xFormers can serve."""
        refusals = self.refusals(networks)
        for attention, heads in self._heads(networks).items():
            if _first_reason(refusals, heads) is None:
                undo.set(attention, "kernel", XFormersKernel(self.attention_op))
        for _, network in _without_slots(networks, *self.components):
            replace_attention(network, _ByXFormers(self).attend, undo)

    def refusals(self, networks: Networks) -> dict[Head, str | None]:
        """Every kind of head that an attention has → why xFormers cannot serve it, or `None`."""
        device = networks.device
        kinds = dict.fromkeys(head for heads in self._heads(networks).values() for head in heads)
        return {head: self.try_head(device, *head) for head in kinds}

    def _heads(self, networks: Networks) -> dict[Attention, list[Head]]:
        """What each attention may compute with: an autoencoder may do it in float32 as well."""
        vaes = [vae for vae in networks.modules_of(Autoencoder) if vae.config.force_upcast]
        widened = {layer for vae in vaes for layer in vae.modules()}
        return {
            attention: [
                (attention.head_dim, dtype)
                for dtype in (attention.dtype, torch.float32)
                if dtype == attention.dtype or attention in widened
            ]
            for attention in networks.modules_of(Attention, *self.components)
        }

    def _likely_head(self, networks: Networks) -> Head:
        """Heads as most networks have them, in what one without slots computes in."""
        _, network = next(_without_slots(networks, *self.components))
        dtypes = (p.dtype for p in network.parameters() if p.is_floating_point())
        return LIKELY_HEAD, next(dtypes, torch.float32)

    def try_head(self, device: torch.device, head_dim: int, dtype: torch.dtype) -> str | None:
        """Why xFormers cannot compute such heads, as a sentence; tried with a small operation."""
        try:
            sample = torch.zeros(1, 1, 8, head_dim, dtype=dtype, device=device)
            with silence_imports():
                XFormersKernel(self.attention_op)(sample, sample, sample)
        except ImportError:
            return (
                "XFormers needs the package xformers; install dpnb[xformers], or keep torch's "
                "fused attention."
            )
        except (RuntimeError, NotImplementedError, ValueError, AttributeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
            return (
                f"xFormers cannot compute heads of {head_dim} in {str(dtype)[6:]} on {device} "
                f"({reason}); torch's fused attention serves there."
            )
        return None


class _ByXFormers:
    """Attention by xFormers, wherever that can compute it."""

    def __init__(self, strategy: XFormers) -> None:
        self._strategy = strategy
        self._kernel = XFormersKernel(strategy.attention_op)
        self._refusals: dict[tuple[torch.device, Head], str | None] = {}

    def attend(self, call: AttentionCall) -> Tensor:
        """Attend; by torch where xFormers cannot serve."""
        if not call.is_plain or self._refusal(call.query) is not None:
            return call.compute()
        return self._kernel(call.query, call.key, call.value, call.scale)

    def _refusal(self, query: Tensor) -> str | None:
        head = query.shape[-1], query.dtype
        key = query.device, head
        if key not in self._refusals:
            self._refusals[key] = self._strategy.try_head(query.device, *head)
        return self._refusals[key]


def most_heads(networks: Networks) -> int:
    """The most heads that any attention says it has; 0 where none says so."""
    own = [attention.heads for attention in networks.modules_of(Attention)]
    others = [count_heads(network) for _, network in _without_slots(networks)]
    return max(own + others, default=0)


def _without_slots(networks: Networks, *names: str) -> Iterator[tuple[str, nn.Module]]:
    """The foreign networks, whose attention is reached by a mode; with their names."""
    return networks.foreign_items(*names)


def _no_attention(what: str, networks: Networks, *names: str) -> str | None:
    """Why no attention can be computed otherwise, as a sentence."""
    if next(networks.modules_of(Attention, *names), None) is not None:
        return None
    reasons = [attention_mode_obstacle(*pair) for pair in _without_slots(networks, *names)]
    if None in reasons:
        return None
    return next(iter(reasons), f"{what} needs a network with attention; there is none here.")


def _first_reason(refusals: Mapping[Head, str | None], heads: list[Head]) -> str | None:
    return next((reason for head in heads if (reason := refusals[head]) is not None), None)
