"""Pipelines by the words that somebody writes into a field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpnb.devices import best_device
from dpnb.loading.hub import HubOptions
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.original_file import OriginalFile, fetch_settings
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.pipelines.storage.origin import resolve_pipeline_class
from dpnb.pipelines.storage.saving import is_dduf


def open_any_pipeline(place: str) -> Any:
    """The pipeline that is at a place, on the best device of this machine.

    Args:
        place: a folder, a file of a whole pipeline, or a name on the hub or in the package.

    Raises:
        CheckpointError: there is no pipeline there, or it is damaged.
        HubError: the repository cannot be reached.
        ValueError: it is neither a place here nor the form of a repository's name.
    """
    path, device = Path(place).expanduser(), str(best_device())
    if not path.is_file() or is_dduf(path):
        return DiffusionPipeline.from_pretrained(place, device_map=device)
    settings = OriginalFile.read(path, HubOptions(), dtype=None).usual_settings
    name = ModelIndex.read(fetch_settings(settings, HubOptions())).class_name
    kind = resolve_pipeline_class(str(name), settings)
    return kind.from_single_file(path, config=settings, device_map=device)
