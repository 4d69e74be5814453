"""Builds valueless pipelines: copies of loaded ones, out of a checkpoint's headers, or by name."""

from __future__ import annotations

import copy
import difflib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dpnb.devices import parse_dtype
from dpnb.errors import ComponentError
from dpnb.loading.hub import local_folder
from dpnb.pipelines.attached.attach import attach
from dpnb.pipelines.attached.attached_pipeline import AttachedPipeline
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, assemble
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.planning.header_pipeline import build_from_headers
from dpnb.planning.loaded_pipelines import copy_foreign, is_loaded_pipeline
from dpnb.planning.valueless import ValuelessTensors
from dpnb.schedulers.scheduler import Scheduler


def build_valueless_pipeline(
    model: object,
    valueless_mode: ValuelessTensors,
    dtype: torch.dtype | str | None = None,
    **options: Any,
) -> Any:
    """A pipeline whose networks are valueless, and that can be run in `valueless_mode` alone.

    Args:
        model: a loaded pipeline, which is left as it is; a folder; a hub repository, of which only
            small files and the headers of weights are fetched; or one of `ARCHITECTURES`.
        valueless_mode: the mode in which its networks will run.
        dtype: of floating-point weights; those of `model` by default, or with `"auto"`.
        options: those of `from_pretrained` that say which files are meant.

    Returns:
        One of dpnb's, or one of diffusers', attached.

    Raises:
        AttachError: it is none that could be attached.
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
        if isinstance(pipe, DiffusionPipeline):
            pipe._name_or_path = str(model)
    elif is_loaded_pipeline(model):
        pipe = copy_foreign(model, valueless_mode, kind)
    else:
        raise TypeError(
            f"{type(model).__name__} cannot be planned for; give a pipeline, a folder, a hub "
            f"repository, or one of {', '.join(ARCHITECTURES)}."
        )
    return _make_ready(pipe) if isinstance(pipe, DiffusionPipeline) else _attach(pipe)


def _make_ready(pipe: DiffusionPipeline) -> TextToImagePipeline:
    if not isinstance(pipe, TextToImagePipeline):
        raise ComponentError(
            f"{type(pipe).__name__} is no pipeline that draws from words alone, so that its course "
            "is not known before it runs; measure it instead, with dpnb.record."
        )
    pipe.set_progress_bar_config(disable=True)
    pipe.computes_values = False
    return pipe


def _attach(pipe: Any) -> AttachedPipeline:
    if "set_progress_bar_config" in dir(type(pipe)):
        pipe.set_progress_bar_config(disable=True)
    return attach(pipe)


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
    copied = type(pipe)(**parts, **settings)
    copied._name_or_path = pipe.name_or_path  # what stands beside the model serves the copy too
    return copied


def _copy_part(
    pipe: DiffusionPipeline, part: Any, valueless_mode: ValuelessTensors, dtype: torch.dtype | None
) -> Any:
    if isinstance(part, Scheduler):
        return copy.deepcopy(part)
    if not isinstance(part, nn.Module):
        return part
    return valueless_mode.discard_values(pipe.strategies.structure_of(part).copy(), dtype)
