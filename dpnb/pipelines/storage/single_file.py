"""Pipelines out of one file in their authors' layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dpnb.devices import parse_dtype
from dpnb.garbage import pause_garbage_collection
from dpnb.loading.components.registry import resolve
from dpnb.loading.components.transformers_components import make_clip
from dpnb.loading.hub import HubOptions
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.original_file import OriginalFile, fetch_settings
from dpnb.loading.original_layout import convert_part
from dpnb.models.single_file import COMPONENTS
from dpnb.pipelines.schema import Schema

TEXT_ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection")

UNUSED = ("disable_mmap", "load_safety_checker", "local_dir")


def collect_parts(
    schema: Schema, place: str | Path, arguments: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained` needs for a pipeline whose networks are in one file.

    Args:
        schema: of the pipeline's class.
        place: the file's path, or its address on the hub.
        arguments: of `from_single_file`.

    Returns:
        Where the settings are, and the arguments: the networks out of the file, and the rest.

    Raises:
        CheckpointError: the file does not hold a network that the pipeline needs.
        ValueError: settings are to be read from a file of another form.
    """
    given = {name: value for name, value in arguments.items() if name not in UNUSED}
    config, original = given.pop("config", None), given.pop("original_config", None)
    if original is not None or given.pop("original_config_file", None) is not None:
        raise ValueError(
            "original_config is not read here; give config, the folder or the repository of a "
            "pipeline with the same settings, or leave both out."
        )
    hub, others = HubOptions.split(given)
    dtype = parse_dtype(others.get("torch_dtype") or others.get("dtype") or torch.float32)
    file = OriginalFile.read(place, hub, dtype=dtype)
    place_of_settings = str(config or file.usual_settings)
    folder = fetch_settings(place_of_settings, hub)
    index = ModelIndex.read(folder)
    parts = {
        name: _convert(file, name, *entry, folder / name)
        for name in schema.components
        if name not in given and (entry := index.components.get(name)) is not None
        if entry[1] in (*COMPONENTS, *TEXT_ENCODERS)
    }
    absent = {n: None for n in ("safety_checker",) if n in schema.components}
    return place_of_settings, {**absent, **given, **parts}


@pause_garbage_collection()
def _convert(
    file: OriginalFile, component: str, library: str, class_name: str, folder: Path
) -> Any:
    kind = resolve(library, class_name)
    if class_name in COMPONENTS:
        return kind.convert(file, component, folder, {})
    return make_clip(
        kind,
        folder,
        lambda expected: convert_part(component, class_name, expected, file.tensors),
    )
