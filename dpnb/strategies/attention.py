"""How attention is computed: over a few heads at a time, or by xFormers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from dpnb.nn.attention import Attention
from dpnb.nn.attention_calls import AttentionCall, attend_in_slices
from dpnb.nn.attention_kernels import ChosenKernel, Kernel, SlicedKernel, XFormersKernel
from dpnb.numbers import to_builtin
from dpnb.stages import Stage
from dpnb.strategies.attention_kernel import KernelStrategy
from dpnb.strategies.attention_mode import count_heads, no_attention_obstacle, replace_attention
from dpnb.strategies.named_components import read_components
from dpnb.strategies.networks import Networks
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo
from dpnb.switchboard import SliceSize


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
        if (reason := no_attention_obstacle("Attention slicing", networks)) is not None:
            return reason
        if most and isinstance(self.slice_size, int) and self.slice_size > most:
            return (
                f"slice_size is {self.slice_size}, but no attention here has more than {most} "
                f'heads; use at most {most}, or "auto" or "max".'
            )
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Wrap every kernel, but for chosen ones that hold no attention matrix at all."""
        for attention in networks.modules_of(Attention):
            if _builds_matrix(attention.kernel):
                kernel = SlicedKernel(attention.kernel, self._heads_at_once(attention.heads))
                undo.set(attention, "kernel", kernel)
        for _, network in networks.foreign_items():
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
class XFormers(KernelStrategy):
    """Attention by xFormers' memory-efficient kernel.

    It is `AttentionKernel("xformers")` by another name, with a choice among its operators. It is
    tried with a small operation for every head size and dtype; where it cannot run, that layer
    keeps torch's fused attention.

    Args:
        attention_op: the name of an operator in `xformers.ops`; it chooses by itself without one.
        components: the components whose attention is computed so; all of them by default.
    """

    attention_op: str | None = None
    components: tuple[str, ...] = ()
    label: ClassVar = "xFormers"
    package: ClassVar = "xformers"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        read_components(self)
        if not isinstance(self.attention_op, str | None):
            raise TypeError(
                f"attention_op is {self.attention_op!r}; give the name of an operator in "
                "xformers.ops, or None to let xFormers choose."
            )

    @property
    @override
    def kernel(self) -> XFormersKernel:
        return XFormersKernel(self.attention_op)

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return self.components

    @property
    @override
    def title(self) -> str:
        return "XFormers"


def most_heads(networks: Networks) -> int:
    """The most heads that any attention says it has; 0 where none says so."""
    own = [attention.heads for attention in networks.modules_of(Attention)]
    others = [count_heads(network) for _, network in networks.foreign_items()]
    return max(own + others, default=0)


def _builds_matrix(kernel: Kernel) -> bool:
    """Whether a kernel may hold the attention matrix: torch's own choice does, where it must."""
    return not isinstance(kernel, ChosenKernel) or kernel.builds_matrix
