"""Components plus one loop: the pipelines.

Classes are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dpnb.loading.components.registry import PIPELINES
from dpnb.module_paths import find_elsewhere


def __getattr__(name: str) -> Any:
    if name not in PIPELINES:
        return find_elsewhere(__name__, name)
    return getattr(import_module(PIPELINES[name]), name)
