"""What scripts ask of packages and of modules before they begin."""

from __future__ import annotations

from importlib.util import find_spec

from packaging.version import Version
from torch import nn

from dpnb.loading.settings_files import FORMAT_VERSION
from dpnb.nn.compiled import plain_network


def check_min_version(min_version: str) -> None:
    """Check that a script was not written for a later release than dpnb stands for.

    Args:
        min_version: of diffusers, the oldest that will do.

    Raises:
        ImportError: it is a later one.
    """
    if Version(min_version) > Version(FORMAT_VERSION):
        raise ImportError(
            f"this script needs diffusers {min_version}, and dpnb has the names of "
            f"{FORMAT_VERSION}; run an older form of the script."
        )


def is_compiled_module(module: nn.Module) -> bool:
    """Whether torch has wrapped a module to compile it."""
    return plain_network(module) is not module


def is_peft_available() -> bool:
    """Whether peft is installed."""
    return find_spec("peft") is not None
