"""The meter of live tensors: exact and repeatable on any device."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from threading import RLock
from typing import Any, ClassVar
from weakref import ref

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator, OpOverload
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from typing_extensions import override

from dpnb.metering.counting import is_counting
from dpnb.metering.higher_order import unfold
from dpnb.metering.reading import Reading

FRESH = {torch.ops.aten.lift_fresh.default}
"""What hands out a tensor that was made unseen, as `torch.tensor` does."""


class TensorMeter(TorchDispatchMode):
    """Counts the storage of tensors made while it is entered, until they are freed.

    It sees the operations of the thread that has entered it, and no others. What was made meanwhile
    stays counted after leaving, and is discounted when it is freed, wherever that happens; it may
    be entered again. A storage that is resized counts by its new size. What a kernel allocates for
    itself inside one operation is not seen, and what is made within `no_counting` is left out. Fake
    tensors count as if they were real.

    Attributes:
        current: bytes alive.
        peak: the most since `reset_peak`.
        events: pairs of a number for a storage and the bytes that it has from then on, 0 once it is
            freed, as they happen; `None`, as at first, where nobody wants to know.
    """

    supports_higher_order_operators = True
    name: ClassVar = "tensors"
    label: ClassVar = "bytes of tensors that the run has made"

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.current = 0
        self.peak = 0
        self.events: array[int] | None = None
        self._lock = RLock()
        self._live: dict[int, tuple[ref[torch.UntypedStorage], int]] = {}

    @classmethod
    @override
    def _should_skip_dynamo(cls) -> bool:
        """Torch would hide every operation from its compiler, which takes longer than it does."""
        return False

    def read(self) -> Reading:
        """What is alive now."""
        for storage, _ in list(self._live.values()):
            if (alive := storage()) is not None:
                self._measure(alive)
        return Reading(time.perf_counter(), self.current, self.peak)

    def reset_peak(self) -> None:
        """Forget the highest count so far."""
        self.peak = self.current

    @override
    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not is_counting():
            return func(*args, **kwargs)
        if isinstance(func, HigherOrderOperator):
            with self:
                return unfold(func, args, kwargs)
        if torch.is_inference_mode_enabled() and isinstance(func, OpOverload):
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        self._count(func, (args, kwargs), out)
        return out

    def note(self, func: Callable[..., Any], given: object, out: object) -> None:
        """Count what an operation has made, for whoever sees it in this meter's place.

        Args:
            func: the operation.
            given: its arguments.
            out: what it has returned.
        """
        if is_counting():
            self._count(func, given, out)

    def _count(self, func: Callable[..., Any], given: object, out: object) -> None:
        outcome = _outcome(func)
        if outcome is Outcome.NEW and isinstance(out, Tensor) and not _wraps(out):
            self._measure(out.untyped_storage())
        elif outcome is not Outcome.VIEW:
            self._compare(func, given, out)

    def _compare(self, func: Callable[..., Any], given: object, out: object) -> None:
        """Count what is in `out` and not in `given`, and what of `given` has another size now."""
        known = {storage._cdata: storage for storage in _storages(given)}
        for key, storage in known.items():
            if key in self._live:
                self._measure(storage)
        for storage in _storages(out):
            if storage._cdata not in known or func in FRESH:
                self._measure(storage)

    def _measure(self, storage: torch.UntypedStorage) -> None:
        """Count `storage` by its present size."""
        key, nbytes = storage._cdata, storage.nbytes()
        with self._lock:
            known = self._live.get(key)
            if known is not None and known[1] == nbytes:
                return
            watched = ref(storage, lambda _: self._release(key)) if known is None else known[0]
            self._live[key] = watched, nbytes
            self.current += nbytes - (0 if known is None else known[1])
            self.peak = max(self.peak, self.current)
            if self.events is not None:
                self.events.extend((key, nbytes))

    def _release(self, key: int) -> None:
        with self._lock:
            self.current -= self._live.pop(key)[1]
            if self.events is not None:
                self.events.extend((key, 0))


def storage_number(tensor: Tensor) -> int:
    """What a meter's events call the memory of `tensor`, as long as it is there."""
    return int(tensor.untyped_storage()._cdata)


class Outcome(Enum):
    """What an operation returns."""

    NEW = "nothing of what it is given, none of which it changes"
    VIEW = "the memory that it is given"
    EITHER = "one or the other"


@cache
def _outcome(func: Callable[..., Any]) -> Outcome:
    if not isinstance(func, OpOverload) or func in FRESH:
        return Outcome.EITHER
    if func.is_view:
        return Outcome.VIEW
    schema = func._schema
    is_new = not schema.is_mutable and all(made.alias_info is None for made in schema.returns)
    return Outcome.NEW if is_new else Outcome.EITHER


def _wraps(tensor: Tensor) -> bool:
    """Whether a tensor has no memory of its own, but is made of others that have."""
    return is_traceable_wrapper_subclass(tensor)


def _storages(tree: object) -> list[torch.UntypedStorage]:
    """The storages of all tensors in nested tuples, lists and dictionaries."""
    found: list[torch.UntypedStorage] = []
    _collect(tree, found)
    return found


def _collect(tree: object, found: list[torch.UntypedStorage]) -> None:
    if isinstance(tree, Tensor):
        if _wraps(tree):
            wrapper: Any = tree
            _collect([getattr(tree, name) for name in wrapper.__tensor_flatten__()[0]], found)
        else:
            found.append(tree.untyped_storage())
    elif isinstance(tree, (tuple, list)):
        for branch in tree:
            _collect(branch, found)
    elif isinstance(tree, dict):
        _collect(tuple(tree.values()), found)
