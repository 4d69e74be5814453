"""Networks, each with its frozen settings, and what they share: loading, saving, switches.

Classes are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dpnb.loading.components.registry import MODELS
from dpnb.module_paths import find_elsewhere


def __getattr__(name: str) -> Any:
    if name not in MODELS:
        return find_elsewhere(__name__, name)
    return getattr(import_module(MODELS[name]), name)
