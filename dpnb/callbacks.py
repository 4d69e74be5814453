"""Callbacks that end guidance on the way, by the path that scripts import them from."""

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
