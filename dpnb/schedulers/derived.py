"""What schedulers compute from a tensor that scripts may change or replace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from typing_extensions import Self, override

Value = TypeVar("Value")


class Derived(Generic[Value]):
    """A property computed from an attribute, and again once that has changed.

    Who knows it already may set it. It is computed of real numbers, in rehearsals too. A change is
    another value, or a tensor changed in place (but for tensors of inference mode, which do not
    tell).

    Args:
        source: the attribute's name.
        compute: the property, of the object and the attribute's value.
    """

    def __init__(self, source: str, compute: Callable[[Any, Any], Value]) -> None:
        self.source, self.compute = source, compute

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...

    def __get__(self, instance: object | None, owner: type) -> Value | Self:
        if instance is None:
            return self
        source, known = getattr(instance, self.source), vars(instance).get(self.name)
        if known is None or known.source is not source or not known.is_current:
            with _disable_current_modes():
                self.__set__(instance, self.compute(instance, source))
            known = vars(instance)[self.name]
        value: Value = known.value
        return value

    def __set__(self, instance: object, value: Value) -> None:
        source = getattr(instance, self.source)
        vars(instance)[self.name] = Known(source, _version(source), value)


def derived_from(source: str) -> Callable[[Callable[[Any, Any], Value]], Derived[Value]]:
    """A decorator that makes a method a `Derived` property of the attribute `source`."""
    return lambda compute: Derived(source, compute)


@dataclass(frozen=True, eq=False)
class Known:
    """What was computed, and the state of what it was computed from; by default nothing."""

    source: Any = None
    version: int = -1
    value: Any = None

    @property
    def is_current(self) -> bool:
        """Whether the source is as it was."""
        return self.version == _version(self.source)

    def moved(self, source: Any) -> Known:
        """The same of a copy of the source."""
        return Known(source, _version(source) if self.is_current else -1, self.value)

    @override
    def __reduce__(self) -> Any:
        return Known, ()


def _version(source: Any) -> int:
    is_counted = isinstance(source, Tensor) and not source.is_inference()
    return source._version if is_counted else 0
