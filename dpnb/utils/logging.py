"""How much this package says, by the names that scripts call."""

from __future__ import annotations

import logging
from logging import CRITICAL, DEBUG, ERROR, FATAL, INFO, WARN, WARNING

from dpnb.pipelines.foreign.standins import get_logger

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "WARN",
    "WARNING",
    "disable_progress_bar",
    "enable_progress_bar",
    "get_logger",
    "get_verbosity",
    "set_verbosity",
    "set_verbosity_debug",
    "set_verbosity_error",
    "set_verbosity_info",
    "set_verbosity_warning",
]

ROOT = logging.getLogger(__name__.partition(".")[0])


def get_verbosity() -> int:
    """The least level of what is said."""
    return ROOT.getEffectiveLevel()


def set_verbosity(verbosity: int) -> None:
    """Say what has this level or a higher one."""
    ROOT.setLevel(verbosity)


def set_verbosity_error() -> None:
    """Say errors alone."""
    set_verbosity(ERROR)


def set_verbosity_warning() -> None:
    """Say warnings too."""
    set_verbosity(WARNING)


def set_verbosity_info() -> None:
    """Say what goes on, too."""
    set_verbosity(INFO)


def set_verbosity_debug() -> None:
    """Say everything."""
    set_verbosity(DEBUG)


def disable_progress_bar() -> None:
    """Nothing: loading shows none, and runs' are `pipe.set_progress_bar_config(disable=True)`."""


def enable_progress_bar() -> None:
    """Nothing; see `disable_progress_bar`."""
