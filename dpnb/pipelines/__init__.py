"""Components plus one loop: the pipelines.

Classes are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dpnb.loading.components.registry import PIPELINES


def __getattr__(name: str) -> Any:
    if name not in PIPELINES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PIPELINES[name]), name)
