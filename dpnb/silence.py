"""Packages of others without the messages that nobody can act on.

What they log or warn of while they are imported is about other cards, other versions of torch, or
kernels that were not built: `silence_imports` keeps it back. Errors are shown as ever.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Lock
from types import TracebackType
from typing import Any, cast

LOGGERS = ("torchao", "torch.utils._pytree", "xformers", "bitsandbytes", "triton")

WARNERS = re.compile(
    r"(torchao|xformers|bitsandbytes|triton|transformers|diffusers|accelerate|dpnb)(\.|$)"
)
"""Modules whose warnings are kept back; a package may warn in the name of who imports it."""

Warner = tuple[str, re.Pattern[str] | None, type[Warning], re.Pattern[str] | None, int]


class Shared:
    """Something that is switched on while at least one thread is within it.

    Threads leave in any order. What each would put back by itself might be what another had
    switched on.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make
        self._lock = Lock()
        self._present = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._present:
                self._entered = self._make()
                self._entered.__enter__()
            self._present += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._present -= 1
            if not self._present:
                self._entered.__exit__(None, None, None)


@contextmanager
def _quiet_imports() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    ignored: Warner = ("ignore", None, Warning, WARNERS, 0)
    for logger in loggers:
        logger.setLevel(max(logger.level, logging.ERROR))
    _warning_filters().insert(0, ignored)
    try:
        yield
    finally:
        with suppress(ValueError):
            _warning_filters().remove(ignored)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bars:
            transformers_logging.enable_progress_bar()


def _warning_filters() -> list[Any]:
    """The filters that are in force, which some of Python's own modules edit in place, too."""
    return cast("list[Any]", warnings.filters)


_IMPORTS, _TRANSFORMERS = Shared(_quiet_imports), Shared(_quiet_transformers)


@contextmanager
def silence_imports() -> Iterator[None]:
    """Within it packages are imported without what they log and warn of, short of errors."""
    with _IMPORTS:
        yield


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Within it transformers reports errors only, and draws no progress bars.

    It imports optional packages when it first needs them: those are silent as well.
    """
    with _IMPORTS, _TRANSFORMERS:
        yield
