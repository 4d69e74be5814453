"""Classes like those of networks, which answer a question about themselves in another way."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias, cast

from torch import nn

from dpnb.strategies.undo import Undo

Answer: TypeAlias = Callable[[nn.Module, Callable[[nn.Module], Any]], Any]
"""A network and how its class answers → what is answered."""


def answer_by(network: nn.Module, name: str, answer: Answer, undo: Undo) -> None:
    """Let a network answer by `answer` who asks for its attribute `name`.

    A property of a class stands before any attribute of an object, so the object gets another
    class. One whose class has no such property is left alone.

    Args:
        network: the network.
        name: of the property.
        answer: a function of a module, so that each class is made once.
        undo: takes the inverse.
    """
    kind = type(network)
    if isinstance(inspect.getattr_static(kind, name, None), property):
        undo.callback(setattr, network, "__class__", kind)
        network.__class__ = _make_telling_class(cast(Any, kind), name, answer)


@cache
def _make_telling_class(kind: Any, name: str, answer: Answer) -> Any:
    """A class like `kind`, derived from it, whose property `name` is answered by `answer`."""
    plain: Any = inspect.getattr_static(kind, name)

    def ask(self: nn.Module) -> Any:
        return answer(self, plain.fget)

    members = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__reduce_ex__": _reduce_to(kind),
        name: property(ask, doc=plain.__doc__),
    }
    return type(kind)(kind.__name__, (kind,), members)


def _reduce_to(kind: Any) -> Callable[[Any, Any], Any]:
    """Copies and pickles are of the class itself."""

    def reduce(self: Any, protocol: Any) -> Any:
        make, args, *rest = kind.__reduce_ex__(self, protocol)
        return make, tuple(kind if one is type(self) else one for one in args), *rest

    return reduce
