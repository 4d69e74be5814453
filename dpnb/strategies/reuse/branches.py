"""Which call of a network is of which branch of a run, and what is kept of it for later steps.

In a step a network may be called several times: with the prompt and without, or while something in
it is perturbed. What is kept of such a call serves the same call of a later step and no other one.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from dpnb.errors import UnknownValueError
from dpnb.nn.compiled import plain_network
from dpnb.run_listener import RunKey, RunListener
from dpnb.strategies.conditioning import Key, identity
from dpnb.strategies.reuse.reuse_count import ReuseCount
from dpnb.strategies.undo import Undo

K = TypeVar("K")
Place: TypeAlias = tuple[object, ...]

OF_A_STEP = frozenset(
    {"sample", "hidden_states", "timestep", "timesteps", "timestep_ratio", "sigma", "x", "t"}
)
"""Arguments that are others in every step."""

CONTROL = ("residual", "controlnet")
"""What the names of arguments have in them that another network computes in every step."""


@dataclass(frozen=True)
class ReuseSpan:
    """The steps of a run in which something may be reused.

    Args:
        first: so many steps are computed at the beginning.
        last: and so many at the end.
    """

    first: int
    last: int

    def has(self, index: int, total: int) -> bool:
        """Whether step `index` of `total`, from 0, is one of them."""
        return max(self.first, 1) <= index < total - self.last

    def has_later(self, index: int, total: int) -> bool:
        """Whether one of them comes after step `index` of `total`."""
        return self.has(max(index + 1, self.first), total)


class Branch(Generic[K]):
    """One call in every step.

    Args:
        conditions: what it is given in every step alike.

    Attributes:
        computed: the step that `kept` is from; `None` while there is none.
        kept: of that step.
    """

    def __init__(self, conditions: list[Tensor]) -> None:
        self.computed: int | None = None
        self.kept: K | None = None
        # The tensors are kept, so that no other can come to their addresses.
        self._conditions = conditions
        self._keys = list(map(identity, conditions))

    def is_given(self, others: list[Tensor]) -> bool:
        """Whether `others`, of the same sizes, are its conditions, or have the same values."""
        try:
            return all(map(self._is_same, self._keys, self._conditions, others))
        except UnknownValueError:
            return False

    @staticmethod
    def _is_same(key: Key, own: Tensor, other: Tensor) -> bool:
        if identity(other) == key:
            return True
        return identity(own) == key and torch.equal(own, other)


@dataclass(eq=False)
class PresentCall(Generic[K]):
    """A call of the network that goes on.

    Attributes:
        branch: to which it belongs.
        index: of its step.
        may_reuse: whether its step is one in which something may be reused.
        serves_next: whether the next step is.
        serves_later: whether a later step is.
        is_reusing: whether it does.
    """

    branch: Branch[K]
    index: int
    may_reuse: bool
    serves_next: bool
    serves_later: bool
    is_reusing: bool = False

    def age_of(self, computed: int | None) -> int | None:
        """How many steps before this one step `computed` was; `None` where that never was."""
        return None if computed is None else self.index - computed


class Branches(RunListener[RunKey], Generic[K]):
    """The branches of a run, as far as one network sees them.

    Outside of a run, and where gradients are recorded, there is no present call: whoever reuses
    something then computes all.

    Args:
        network: the network.
        span: the steps in which something may be reused.
        count: is told of every call.

    Attributes:
        present: the call that goes on.
    """

    def __init__(self, network: nn.Module, span: ReuseSpan, count: ReuseCount) -> None:
        self.present: PresentCall[K] | None = None
        self._signature = inspect.signature(type(plain_network(network)).forward)
        self._span, self._count = span, count
        self._step: tuple[int, int] | None = None
        self._calls = 0
        self._known: dict[Place, Branch[K]] = {}

    def hear(self, network: nn.Module, undo: Undo) -> None:
        """Hear of the calls of the network, and of runs, until this is undone."""
        undo.before(network, self._begin_call, with_kwargs=True)
        undo.after(network, self._end_call, always_call=True)
        undo.callback(self._forget)
        undo.watch(self)

    @override
    def begin_run(self, run: RunKey) -> None:
        """Forget all that is kept."""
        self._forget()

    @override
    def end_run(self, run: RunKey, error: BaseException | None) -> None:
        """Forget all that is kept."""
        self._forget()

    @override
    def before_step(self, run: RunKey, index: int, total: int) -> None:
        """The next calls of the network belong to step `index` of `total`."""
        if self._step is not None and index != self._step[0] + 1:
            self._known.clear()  # another loop has begun
        self._step, self._calls = (index, total), 0

    @override
    def after_steps(self, run: RunKey) -> None:
        """Forget all that is kept: nothing else is to stand beside a picture that is decoded."""
        self._forget()

    def _forget(self) -> None:
        self.present = self._step = None
        self._known.clear()

    def _begin_call(
        self, network: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.present = None
        if self._step is None or torch.is_grad_enabled():
            return
        given = self._signature.bind_partial(network, *args, **kwargs).arguments
        index, total = self._step
        branch = self._find_branch(given)
        self.present = PresentCall(
            branch,
            index,
            may_reuse=self._span.has(index, total),
            serves_next=self._span.has(index + 1, total),
            serves_later=self._span.has_later(index, total),
        )
        self._calls += 1

    def _end_call(self, *_: object) -> None:
        call, self.present = self.present, None
        if call is not None:
            self._count.note_call(reuses=call.is_reusing)
            if not call.serves_later:
                call.branch.kept = None

    def _find_branch(self, given: Mapping[str, Any]) -> Branch[K]:
        """That of a call by its place in the step, the sizes of all that is given, and prompts."""
        _, *named = given.items()
        leaves = {name: _tensors(value) for name, value in named}
        sizes = ((t.shape, t.dtype, t.device) for found in leaves.values() for t in found)
        place = (self._calls, *sizes)
        first = next(iter(leaves), "")
        conditions = [
            tensor
            for name, found in leaves.items()
            if name != first and not _is_of_a_step(name)
            for tensor in found
        ]
        known = self._known.get(place)
        if known is None or not known.is_given(conditions):
            known = self._known[place] = Branch(conditions)
        return known


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _is_of_a_step(name: str) -> bool:
    return name in OF_A_STEP or any(word in name for word in CONTROL)
