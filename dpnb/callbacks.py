"""Callbacks that end guidance on the way, by the path that scripts import them from."""

from __future__ import annotations

from typing import Any

from dpnb.module_paths import find_elsewhere
from dpnb.pipelines.cutoffs import (
    MultiPipelineCallbacks,
    PipelineCallback,
    SDCFGCutoffCallback,
    SDXLCFGCutoffCallback,
)

__all__ = [
    "MultiPipelineCallbacks",
    "PipelineCallback",
    "SDCFGCutoffCallback",
    "SDXLCFGCutoffCallback",
]


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)
