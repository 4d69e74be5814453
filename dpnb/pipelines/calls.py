"""The calls of a pipeline: what takes the fields of its arguments, by position and by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.explored import drain
from dpnb.stages import Step

P = ParamSpec("P")
Out = TypeVar("Out")
Out_co = TypeVar("Out_co", covariant=True)


class _Starting(Protocol[Out_co]):
    def start(self, arguments: Arguments) -> Iterator[Step[Out_co | None]]: ...


def make_call(
    arguments: Callable[P, Arguments], output: type[Out]
) -> Callable[Concatenate[Any, P], Out]:
    """A pipeline's `__call__` that takes the fields of `arguments`.

    It shows their names and defaults as its signature; the class's `positional` fields may be given
    by position.

    Args:
        arguments: a class of arguments.
        output: what a run returns; with `return_dict=False` that is a plain tuple of its fields.
    """

    def call(self: _Starting[Out], /, *args: Any, **kwargs: Any) -> Any:
        """Draw, and return the output; the arguments are described at their class.

        With `return_dict=False` a plain tuple is returned.

        Raises:
            ValueError: an argument's value is impossible; nothing has been computed then.
            TypeError: a prompt is not text, or there is no such argument.
        """
        return drain(self.start(_gather(arguments, args, kwargs)))

    typed: Callable[Concatenate[Any, P], Out] = _with_signature(call, "__call__", arguments)
    return typed


def make_stream(
    arguments: Callable[P, Arguments], output: type[Out]
) -> Callable[Concatenate[Any, P], Iterator[Step[Out | None]]]:
    """A pipeline's `stream` that takes the fields of `arguments`; see `make_call`."""

    def stream(self: _Starting[Out], /, *args: Any, **kwargs: Any) -> Any:
        """Draw step by step: an iterator of `Step`, whose last one holds the output.

        It takes the arguments of a call, and checks them at once. The pipeline may be changed
        between two steps.
        """
        return self.start(_gather(arguments, args, kwargs))

    typed: Callable[Concatenate[Any, P], Iterator[Step[Out | None]]] = _with_signature(
        stream, "stream", arguments
    )
    return typed


def _with_signature(method: Callable[..., Any], name: str, arguments: object) -> Any:
    """`method`, which looks as if it had been written with the fields of `arguments`."""
    kind: Any = arguments
    typed: Any = method
    typed.__name__ = typed.__qualname__ = name
    typed.__signature__ = _signature(kind)
    return typed


def _gather(arguments: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """The arguments of a call.

    Raises:
        TypeError: one is not known, or is given twice.
    """
    kind: Any = arguments
    names = kind.positional
    known = [f.name for f in fields(kind) if f.name not in kind.absent]
    kwargs = _drop_refused(kind, kwargs)
    unknown = kwargs.keys() - set(known)
    if unknown:
        raise TypeError(
            f"{', '.join(sorted(unknown))} is not an argument of this pipeline; it takes "
            f"{', '.join(known)}."
        )
    if len(args) > len(names):
        raise TypeError(
            f"{len(args)} arguments are given by position; only {', '.join(names)} may be, name "
            "the others."
        )
    positional = dict(zip(names, args, strict=False))
    if both := positional.keys() & kwargs.keys():
        raise TypeError(f"{', '.join(both)} is given twice, by position and by name.")
    gathered: Arguments = kind(**positional, **kwargs)
    return gathered


def _drop_refused(kind: type[Arguments], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments without those that pipelines of others have, where they ask for nothing."""
    for name, reason in kind.refused.items():
        if kwargs.get(name) is not None:
            raise TypeError(f"{name} is not an argument of this pipeline: {reason}")
    return {name: value for name, value in kwargs.items() if name not in kind.refused}


def _signature(kind: type[Arguments]) -> inspect.Signature:
    declared = inspect.signature(kind).parameters
    names, taken = kind.positional, [name for name in declared if name not in kind.absent]
    listed = [*names, *(name for name in kind.keywords if name in taken and name not in names)]
    order = [*listed, *(name for name in taken if name not in listed)]
    parameters = [
        declared[name].replace(
            kind=inspect.Parameter.POSITIONAL_OR_KEYWORD
            if name in names
            else inspect.Parameter.KEYWORD_ONLY
        )
        for name in order
    ]
    self_ = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([self_, *parameters])
