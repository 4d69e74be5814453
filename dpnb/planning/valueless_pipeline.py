"""Builds valueless pipelines: copies of loaded ones, out of a checkpoint's headers, or by name."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.devices import parse_dtype
from dpnb.errors import CheckpointError, ComponentError
from dpnb.loading.checkpoint_paths import check_inside, list_files
from dpnb.loading.components.transformers_components import (
    build_without_weights,
    load_transformers_component,
)
from dpnb.loading.config import explain_settings_errors, read_checkpoint_json
from dpnb.loading.filenames import WeightName
from dpnb.loading.hub import fetch, local_folder
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.weights.common_dtype import cast_to_common_dtype
from dpnb.loading.weights.legacy_keys import match_clip_keys, rename_legacy_keys
from dpnb.loading.weights.loading_info import LoadingInfo
from dpnb.loading.weights.meta_init import Extent, assign_state, init_on_meta
from dpnb.loading.weights.safetensors_headers import read_headers
from dpnb.models.model import Model
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, assemble
from dpnb.pipelines.storage.options import LoadOptions
from dpnb.pipelines.storage.origin import (
    Origin,
    resolve_class,
    resolve_component_class,
    select_files,
)
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.planning.valueless import ValuelessTensors
from dpnb.schedulers.scheduler import Scheduler


def build_valueless_pipeline(
    model: object,
    valueless_mode: ValuelessTensors,
    dtype: torch.dtype | str | None = None,
    **options: Any,
) -> TextToImagePipeline:
    """A pipeline whose networks are valueless, and that can be run in `valueless_mode` alone.

    Args:
        model: a loaded pipeline, which is left as it is; a folder; a hub repository, of which only
            small files and the headers of weights are fetched; or one of `ARCHITECTURES`.
        valueless_mode: the mode in which its networks will run.
        dtype: of floating-point weights; those of `model` by default, or with `"auto"`.
        options: those of `from_pretrained` that say which files are meant.

    Raises:
        CheckpointError: the headers of weights are not what the settings say.
        ComponentError: it is no pipeline that draws from words.
        HubError: as for `DiffusionPipeline.from_pretrained`.
        ValueError: the name is none.
    """
    kind = None if dtype is None or dtype == "auto" else parse_dtype(dtype)
    if isinstance(model, DiffusionPipeline):
        pipe: Any = copy_without_values(model, valueless_mode, kind)
    elif isinstance(model, str) and model in ARCHITECTURES:
        pipe = assemble(model, lambda network: valueless_mode.discard_values(network, kind))
    elif isinstance(model, (str, Path)):
        _check_name(str(model))
        pipe = build_from_headers(str(model), valueless_mode, kind, **options)
    else:
        raise TypeError(
            f"{type(model).__name__} cannot be planned for; give a pipeline, a folder, a hub "
            f"repository, or one of {', '.join(ARCHITECTURES)}."
        )
    if not isinstance(pipe, TextToImagePipeline):
        raise ComponentError(
            f"{type(pipe).__name__} is no pipeline that draws from words alone, so that its course "
            "is not known before it runs; measure it instead, with dpnb.record."
        )
    pipe.set_progress_bar_config(disable=True)
    pipe.computes_values = False
    return pipe


def _check_name(name: str) -> None:
    """Refuse what is neither a folder nor a repository, and no architecture."""
    if "/" in name or local_folder(name) is not None or Path(name).exists():
        return
    near = difflib.get_close_matches(name, ARCHITECTURES, n=3, cutoff=0.4)
    hint = f" The nearest are {', '.join(near)}." if near else ""
    raise ValueError(
        f"{name!r} is neither a folder, nor a repository such as owner/name, nor one of "
        f"{', '.join(ARCHITECTURES)}.{hint}"
    )


def copy_without_values(
    pipe: DiffusionPipeline, valueless_mode: ValuelessTensors, dtype: torch.dtype | None
) -> DiffusionPipeline:
    """A pipeline of the same shape, valueless, and with nothing switched on.

    What is switched on at `pipe` stays on: its networks are read, and nothing of them is moved.
    """
    parts = {
        name: _copy_part(pipe, part, valueless_mode, dtype) for name, part in pipe.parts().items()
    }
    settings = {name: pipe.config[name] for name in pipe.schema.settings if name in pipe.config}
    return type(pipe)(**parts, **settings)


def _copy_part(
    pipe: DiffusionPipeline, part: Any, valueless_mode: ValuelessTensors, dtype: torch.dtype | None
) -> Any:
    if isinstance(part, Scheduler):
        return copy.deepcopy(part)
    if not isinstance(part, nn.Module):
        return part
    return valueless_mode.discard_values(pipe.strategies.structure_of(part).copy(), dtype)


def build_from_headers(
    name: str, valueless_mode: ValuelessTensors, dtype: torch.dtype | None, **options: Any
) -> DiffusionPipeline:
    """A valueless pipeline out of a checkpoint's settings and the headers of its weights."""
    chosen, given = LoadOptions.parse_known(options)
    if given:
        raise TypeError(f"{', '.join(given)} is no option of a checkpoint that is planned for.")
    origin, weights = _fetch_small_files(name, chosen)
    kind = resolve_class(DiffusionPipeline, origin, chosen)
    snapshot = origin.folder if local_folder(name) is None else None
    found = read_headers(name, weights, chosen.hub, snapshot)
    parts: dict[str, Any] = {}
    for component in kind.schema.components:
        entry = origin.index.components.get(component)
        if entry is None:
            parts[component] = None
            continue
        cls = resolve_component_class(component, entry, origin, chosen)
        held = found.get(component, {})
        held = cast_to_common_dtype(held) if dtype is None else held
        part = _build_part(cls, origin.folder / component, held)
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


def _build_part(cls: type[Any], folder: Path, found: dict[str, Tensor]) -> Any:
    if issubclass(cls, Model):
        settings = read_checkpoint_json(folder / cls.config_name)
        most = Extent.around(found) if found else None
        with explain_settings_errors(folder / cls.config_name), init_on_meta(most):
            model = cls.from_config(settings)
        if found:
            model.assign(rename_legacy_keys(found), folder)
        return model
    if issubclass(cls, Scheduler):
        return cls.from_pretrained(folder)
    from transformers import PreTrainedModel

    if issubclass(cls, PreTrainedModel):
        return _build_text_encoder(cls, folder, found)
    part, _ = load_transformers_component(cls, folder)
    return part


def _build_text_encoder(cls: Any, folder: Path, found: dict[str, Tensor]) -> nn.Module:
    from accelerate import init_empty_weights

    check_inside(folder / "config.json")
    build_without_weights(cls, folder, Extent.around(found) if found else None)
    config = cls.config_class.from_pretrained(folder)
    with init_empty_weights(include_buffers=False):
        model: Any = cls(config)
    own = model.state_dict()
    state = match_clip_keys(found, own)
    for name in LoadingInfo.of(own, state, folder).mismatched:
        raise CheckpointError(
            f"{folder}: {name} has shape {tuple(state[name].shape)} where the settings give "
            f"{tuple(own[name].shape)}; use the config.json that belongs to these weights."
        )
    assign_state(model, {name: tensor for name, tensor in state.items() if name in own})
    model.tie_weights()
    return model  # type: ignore[no-any-return]
