"""Settings of networks and schedulers of one's own, by the path that scripts import them from."""

from __future__ import annotations

from typing import Any

from dpnb.module_paths import find_elsewhere
from dpnb.pipelines.foreign.bases import ConfigMixin
from dpnb.pipelines.foreign.declared import DeclaredConfig as FrozenDict
from dpnb.pipelines.foreign.declared import register_to_config

__all__ = ["ConfigMixin", "FrozenDict", "register_to_config"]


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)
