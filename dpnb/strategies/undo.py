"""The log that makes every change reversible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import local
from typing import Any, ClassVar, NoReturn, TypeAlias

from torch import Tensor, nn
from typing_extensions import Self, override

from dpnb.errors import StrategyError
from dpnb.nn.compiled import call_uncompiled
from dpnb.run_listener import RunKey, RunListener

Hook: TypeAlias = Callable[..., Any]

HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
"""Where a module keeps the hooks around its computation, each by a number."""


class Undo:
    """A log of reversible edits; closing it replays their inverses, last first.

    An inverse is announced before its edit is made, stays in the log until it has been done, and
    may be done again: so that whatever is raised at whatever moment, nothing is forgotten. An
    inverse therefore has to be right whether its edit was made, was made in part or was not made,
    and also when it has been done already.
    """

    def __init__(self) -> None:
        self.watchers: list[RunListener[RunKey]] = []
        self._inverses: list[Callable[[], object]] = []

    def callback(self, inverse: Callable[..., object], /, *args: Any, **kwargs: Any) -> None:
        """Announce an edit: `inverse(*args, **kwargs)` will take it back."""
        self._inverses.append(partial(inverse, *args, **kwargs))

    def set(self, target: object, name: str, value: object) -> None:
        """Set an attribute, to be set back."""
        self.callback(setattr, target, name, getattr(target, name))
        setattr(target, name, value)

    def set_own(self, target: object, name: str, value: object) -> None:
        """Set an attribute that an object may have from its class alone, as it has again then."""
        own = vars(target)
        former = {name: own[name]} if name in own else {}
        self.callback(_set_back, own, name, former)
        setattr(target, name, value)

    def keep_data(self, tensors: Sequence[Tensor], values: Callable[[], Tensor]) -> None:
        """Announce that tensors get other data.

        Args:
            tensors: all that have one memory; they have it in common again then.
            values: makes the data that they have now.
        """
        self.callback(_give_data, tensors, values)

    def before(self, module: nn.Module, hook: Hook, **options: Any) -> None:
        """Let `hook` run before `module` computes, until this is undone.

        Args:
            module: the module.
            hook: is given what such hooks are given.
            options: of `register_forward_pre_hook`.
        """
        ours = _Hook(hook)
        self.callback(_unhook, module, ours)
        module.register_forward_pre_hook(ours, **options)

    def after(self, module: nn.Module, hook: Hook, **options: Any) -> None:
        """Let `hook` run after `module` has computed, until this is undone.

        Args:
            module: the module.
            hook: is given what such hooks are given.
            options: of `register_forward_hook`.
        """
        ours = _Hook(hook)
        self.callback(_unhook, module, ours)
        module.register_forward_hook(ours, **options)

    def watch(self, watcher: RunListener[RunKey]) -> None:
        """Let `watcher` hear of runs as long as the edits stand."""
        self.watchers.append(watcher)

    def close(self) -> None:
        """Take everything back.

        What is raised meanwhile, an interrupt for example, is held until the inverse that it has
        hit is done, and then all others.

        Raises:
            Exception: an inverse has failed twice in a row; it stays in the log, with those that
                were announced before it.
        """
        held: BaseException | None = None
        while self._inverses:
            inverse = self._inverses[-1]
            try:
                inverse()
                self._forget(inverse)
            except BaseException as error:
                held = self._once_more(inverse, error)
        if held is not None and not isinstance(held, Exception):
            raise held

    def _once_more(self, inverse: Callable[[], object], error: BaseException) -> BaseException:
        inverse()
        self._forget(inverse)
        return error

    def _forget(self, inverse: Callable[[], object]) -> None:
        """Take the last inverse out of the log, unless that has been done."""
        if self._inverses and self._inverses[-1] is inverse:
            self._inverses.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _set_back(own: dict[str, Any], name: str, former: Mapping[str, Any]) -> None:
    own.pop(name, None)
    if name in former:
        own[name] = former[name]


def _give_data(tensors: Sequence[Tensor], values: Callable[[], Tensor]) -> None:
    data = values()
    for tensor in tensors:
        tensor.data = data


def is_hook_running() -> bool:
    """Whether this thread is within a hook of a strategy, and not in a network's own code."""
    return _Hook.thread.hooks > 0


class _Thread(local):
    """What a thread is doing.

    Attributes:
        hooks: those of strategies that it is within.
    """

    hooks = 0


@dataclass(frozen=True, eq=False)
class _Hook:
    """A hook that is never copied with its module, whose copy it would tie to the original."""

    hook: Hook
    thread: ClassVar[_Thread] = _Thread()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return call_uncompiled(self._run, args, kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        self.thread.hooks += 1
        try:
            return self.hook(*args, **kwargs)
        finally:
            self.thread.hooks -= 1

    @override
    def __reduce__(self) -> NoReturn:
        refuse_copy()


def refuse_copy() -> NoReturn:
    """Say why a layer cannot be copied that a strategy acts on.

    Raises:
        StrategyError: always.
    """
    raise StrategyError(
        "A network cannot be copied by itself while something is on that acts on its layers; "
        "copy the whole pipeline, or copy within `with pipe.strategies.suspended():`."
    )


def _unhook(module: nn.Module, hook: _Hook) -> None:
    numbers = [
        number
        for kept in (module._forward_pre_hooks, module._forward_hooks)
        for number, known in kept.items()
        if known is hook
    ]
    for name in reversed(HOOKS):
        for number in numbers:
            vars(module)[name].pop(number, None)
