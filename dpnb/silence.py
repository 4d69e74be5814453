"""Packages of others without the messages that nobody can act on.

What they log or warn of while they are imported is about other cards, other versions of torch, or
kernels that were not built: `silence_imports` keeps it back. Errors are shown as ever.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any, Generic, TypeVar, cast
from weakref import ref

LOGGERS = ("torchao", "torch.utils._pytree", "xformers", "bitsandbytes", "triton")

WARNERS = re.compile(
    r"(torchao|xformers|bitsandbytes|triton|transformers|diffusers|accelerate|dpnb)(\.|$)"
)
"""Modules whose warnings are kept back; a package may warn in the name of who imports it."""

Warner = tuple[str, re.Pattern[str] | None, type[Warning], re.Pattern[str] | None, int]

IGNORED: Warner = ("ignore", None, Warning, WARNERS, 0)

State = TypeVar("State")


class Holder:
    """Keeps something switched on, for as long as it lives at the most."""

    __slots__ = ("__weakref__",)


class Shared(Generic[State]):
    """Something that is switched on while at least one thread is within it.

    Threads leave in any order. What each would put back by itself might be what another had
    switched on. An interrupt may hit any line here: who was cut off while leaving is known by that
    nobody knows its holder any more.

    Args:
        look: at how it is.
        switch_on: does so.
        set_back: makes it as it was, however much of that is done already.
    """

    def __init__(
        self,
        look: Callable[[], State],
        switch_on: Callable[[], None],
        set_back: Callable[[State], None],
    ) -> None:
        self._look, self._switch_on, self._set_back = look, switch_on, set_back
        self._lock = RLock()
        self._held: list[ref[Holder]] = []
        self._before: State | None = None

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within, it is switched on."""
        holder = Holder()
        held = ref(holder, self._let_go)
        try:
            with self._lock:
                self._held.append(held)
                if self._before is None:
                    self._before = self._look()
                self._switch_on()
            yield
        finally:
            self._let_go(held)
            del held  # before the holder, whose end would call it again

    def _let_go(self, held: ref[Holder]) -> None:
        with self._lock:
            is_last = all(other is held or other() is None for other in self._held)
            if is_last and self._before is not None:
                self._set_back(self._before)
                self._before = None
            with suppress(ValueError):
                self._held.remove(held)


def _levels() -> dict[str, int]:
    return {name: logging.getLogger(name).level for name in LOGGERS}


def _quieten_imports() -> None:
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level < logging.ERROR:  # to set a level clears the caches of all loggers
            logger.setLevel(logging.ERROR)
    if IGNORED not in _warning_filters():
        _warning_filters().insert(0, IGNORED)


def _set_levels_back(levels: dict[str, int]) -> None:
    with suppress(ValueError):
        _warning_filters().remove(IGNORED)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _look_at_transformers() -> tuple[int, bool]:
    from transformers.utils import logging as transformers_logging

    return transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()


def _quieten_transformers() -> None:
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()


def _set_transformers_back(before: tuple[int, bool]) -> None:
    from transformers.utils import logging as transformers_logging

    verbosity, had_bars = before
    transformers_logging.set_verbosity(verbosity)
    if had_bars:
        transformers_logging.enable_progress_bar()


def _warning_filters() -> list[Any]:
    """The filters that are in force, which some of Python's own modules edit in place, too."""
    return cast("list[Any]", warnings.filters)


_IMPORTS = Shared(_levels, _quieten_imports, _set_levels_back)
_TRANSFORMERS = Shared(_look_at_transformers, _quieten_transformers, _set_transformers_back)


@contextmanager
def silence_imports() -> Iterator[None]:
    """Within it packages are imported without what they log and warn of, short of errors."""
    with _IMPORTS.on():
        yield


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Within it transformers reports errors only, and draws no progress bars.

    It imports optional packages when it first needs them: those are silent as well.
    """
    with _IMPORTS.on(), _TRANSFORMERS.on():
        yield
