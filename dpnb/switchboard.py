"""What networks and schedulers know of the strategies that act on them, which they do not import.

Strategies are made for networks, and import them. A network that is to be copied or saved as it was
before anything was switched on, or whose own `enable_freeu` is called, finds here what it asks; the
package says who answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

ATTRIBUTE = "dpnb_attachment"
"""Where every component carries its attachment, also one of transformers, which declares none."""

STANDS_FOR = "dpnb_stands_for"
"""Where a network that stands for one that others have written keeps the class of that one."""

SliceSize: TypeAlias = int | Literal["auto", "max"]
"""How many heads attention computes at once: a number, half of them, or one."""


class Suspendable(Protocol):
    """Strategies that are on at a component, and can be off for a while.

    Attributes:
        adapters: what was loaded to change a network's weights, by name.
    """

    adapters: dict[str, Mapping[str, Any]]

    def suspended(self) -> AbstractContextManager[frozenset[Any]]:
        """Nothing on at the component within; what is given is the plan that comes back."""
        ...


class Attachable:
    """A component that strategies act on, or a scheduler that leads runs.

    Attributes:
        dpnb_attachment: `None` as long as nobody has asked what is on.
    """

    dpnb_attachment: Suspendable | None = None


class AdapterSwitches(Protocol):
    """The adapters of one network: those that were loaded, and those of peft's layers."""

    def name_for(self, name: str | None, *, in_place: bool) -> str:
        """What a new adapter is called; a name that is there may be given only in its place."""
        ...

    def active(self) -> list[str]:
        """Those that are on."""
        ...

    def load(self, name: str, changes: Mapping[str, Any], *, in_place: bool) -> None:
        """Take in an adapter: what it changes, by the parameter's name.

        Args:
            name: of the adapter.
            changes: of parameters.
            in_place: whether it takes the place of the one of this name.
        """
        ...

    def set(self, names: Sequence[str], weights: Any) -> None:
        """Switch exactly these on, with these weights; see `set_adapters` of pipelines."""
        ...

    def delete(self, names: Sequence[str]) -> None:
        """Forget these."""
        ...

    def unload(self) -> None:
        """Forget all."""
        ...

    def switch_off(self) -> None:
        """Switch all off; they stay loaded."""
        ...

    def switch_on(self) -> None:
        """Switch on what `switch_off` has switched off."""
        ...

    def fuse(self, names: Sequence[str] | None, scale: float, *, safely: bool) -> None:
        """Make adapters, or those that are on, part of the weights."""
        ...

    def unfuse(self) -> None:
        """Bring back the weights before `fuse`."""
        ...


class Switchboard(Protocol):
    """The switches of one network, whether it belongs to a pipeline or not."""

    @property
    def adapters(self) -> AdapterSwitches:
        """What changes the network's weights."""
        ...

    def use_xformers(self, attention_op: str | None) -> None:
        """Let xFormers compute the attention of this network too.

        Args:
            attention_op: the name of an operator of `xformers.ops`.
        """
        ...

    def use_kernel(self, name: str) -> None:
        """Let a kernel compute the attention of this network too.

        Args:
            name: that of `dpnb.AttentionKernel`.
        """
        ...

    def use_torch_attention(self) -> None:
        """Let torch compute the attention of this network again, as it chooses."""
        ...

    def slice_attention(self, slice_size: SliceSize | None) -> None:
        """Compute attention over a few heads at a time; `None` ends that."""
        ...

    def fuse_projections(self) -> None:
        """Make query, key and value of this network with one matrix product."""
        ...

    def unfuse_projections(self) -> None:
        """Make query, key and value of this network by three matrix products again."""
        ...

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """Balance backbone and skips anew."""
        ...

    def disable_freeu(self) -> None:
        """Join backbone and skips as they are."""
        ...

    @property
    def is_reusing(self) -> bool:
        """Whether something of former steps is reused."""
        ...

    def reuse_blocks(self, threshold: float) -> None:
        """Leave out the blocks of a transformer while its first one says nearly the same."""
        ...

    def reuse_nothing(self) -> None:
        """Compute every step whole."""
        ...

    def store_small(self, dtype: str) -> None:
        """Store the weights of this network too in a smaller dtype, by its name."""
        ...

    def enable_tiling(self, tile: int | None, spill: bool, blended: bool) -> None:
        """Decode and encode in strips."""
        ...

    def disable_tiling(self) -> None:
        """Decode and encode whole pictures."""
        ...

    def enable_slicing(self) -> None:
        """Decode and encode the pictures of a batch one after the other."""
        ...

    def disable_slicing(self) -> None:
        """Decode and encode a batch at once."""
        ...


class Switchboards:
    """Where a network gets its switchboard."""

    make: ClassVar[Callable[[object, str], Switchboard]]
    """Given a network and the name of the component that it is in a pipeline, makes one."""
