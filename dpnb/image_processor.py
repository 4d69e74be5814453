"""Pictures in and out of an autoencoder, by the path that scripts import them from."""

from __future__ import annotations

from typing import Any

from dpnb.module_paths import find_elsewhere
from dpnb.pipelines.foreign.image_processor import VaeImageProcessor
from dpnb.pipelines.foreign.inpaint_processor import InpaintProcessor

__all__ = ["InpaintProcessor", "VaeImageProcessor"]


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)
