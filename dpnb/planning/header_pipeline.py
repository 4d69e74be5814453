"""Builds valueless pipelines out of a checkpoint's settings and the headers of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.loading.checkpoint_paths import list_files
from dpnb.loading.components.registry import MODELS, OUR_LIBRARIES, PIPELINES, SCHEDULERS
from dpnb.loading.filenames import WeightName
from dpnb.loading.hub import fetch, local_folder
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.weights.common_dtype import cast_to_common_dtype
from dpnb.loading.weights.safetensors_headers import read_headers
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.pipelines.storage.options import LoadOptions
from dpnb.pipelines.storage.origin import (
    Origin,
    resolve_class,
    resolve_component_class,
    select_files,
)
from dpnb.planning.foreign_headers import build_foreign
from dpnb.planning.header_parts import build_part
from dpnb.planning.valueless import ValuelessTensors


def build_from_headers(
    name: str, valueless_mode: ValuelessTensors, dtype: torch.dtype | None, **options: Any
) -> Any:
    """A valueless pipeline out of a checkpoint's settings and the headers of its weights.

    Args:
        name: a folder or a hub repository.
        valueless_mode: the mode in which its networks will run.
        dtype: of floating-point weights; those of the checkpoint by default.
        options: those of `from_pretrained` that say which files are meant.

    Returns:
        A pipeline of dpnb; where dpnb does not have such a one, diffusers' own.
    """
    chosen, given = LoadOptions.parse_known(options)
    if given:
        raise TypeError(f"{', '.join(given)} is no option of a checkpoint that is planned for.")
    origin, weights = _fetch_small_files(name, chosen)
    is_ours = chosen.custom_pipeline is not None or is_known(origin.index)
    snapshot = origin.folder if local_folder(name) is None else None
    found = read_headers(name, weights, chosen.hub, snapshot)
    if not is_ours:
        return build_foreign(origin, found, valueless_mode, dtype)
    return _build_ours(origin, found, valueless_mode, dtype, chosen)


def is_known(index: ModelIndex) -> bool:
    """Whether dpnb has the class of a pipeline, and those of its components, itself.

    What only a checkpoint's own code has counts as known: that code is asked about elsewhere.
    """
    if not isinstance(index.class_name, str):
        return True
    named = [entry for entry in index.components.values() if entry is not None]
    ours = [class_name for library, class_name in named if library in OUR_LIBRARIES]
    return index.class_name in PIPELINES and {*ours} <= {*MODELS, *SCHEDULERS, *PIPELINES}


def _build_ours(
    origin: Origin,
    found: Mapping[str, Mapping[str, Tensor]],
    valueless_mode: ValuelessTensors,
    dtype: torch.dtype | None,
    chosen: LoadOptions,
) -> DiffusionPipeline:
    kind = resolve_class(DiffusionPipeline, origin, chosen)
    parts: dict[str, Any] = {}
    for component in kind.schema.components:
        entry = origin.index.components.get(component)
        if entry is None:
            parts[component] = None
            continue
        cls = resolve_component_class(component, entry, origin, chosen)
        held = dict(found.get(component, {}))
        held = cast_to_common_dtype(held) if dtype is None else held
        part = build_part(cls, origin.folder / component, held)
        is_network = isinstance(part, nn.Module)
        parts[component] = valueless_mode.discard_values(part, dtype) if is_network else part
    known = {**kind.schema.settings, **origin.index.settings}
    return kind(**parts, **{key: known[key] for key in kind.schema.settings})


def _fetch_small_files(name: str, options: LoadOptions) -> tuple[Origin, list[str]]:
    """The small files of a checkpoint, brought here, and the names of its weight files."""
    folder = fetch(name, lambda files: [f for f in files if f == ModelIndex.file_name], options.hub)
    index = ModelIndex.read(folder)
    every: list[str] = []
    wanted: list[str] = []

    def small(files: Sequence[str]) -> list[str]:
        every[:] = files
        wanted[:] = select_files(files, DiffusionPipeline, index, options, {})
        return [file for file in wanted if not _is_weight(file)]

    if local_folder(name) is None:
        folder = fetch(name, small, options.hub)
    else:
        small(list_files(folder))
    origin = Origin(name, folder, index, frozenset(every))
    return origin, [file for file in wanted if _is_weight(file)]


def _is_weight(file: str) -> bool:
    parsed = WeightName.parse(file.rpartition("/")[2])
    return parsed is not None and not parsed.is_index
