"""Networks, each with its frozen settings, and what they share: loading, saving, switches.

Classes are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dpnb.loading.components.registry import MODELS


def __getattr__(name: str) -> Any:
    if name not in MODELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODELS[name]), name)
