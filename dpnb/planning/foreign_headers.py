"""Valueless pipelines of diffusers, for an index whose classes dpnb does not have itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.errors import CheckpointError, ComponentError, ForeignCodeError
from dpnb.loading.checkpoint_files import explain_settings_errors, read_checkpoint_json
from dpnb.loading.checkpoint_paths import check_all_inside
from dpnb.loading.components.registry import OUR_LIBRARIES, resolve
from dpnb.loading.components.transformers_components import load_transformers_component
from dpnb.loading.model_index import ComponentClass
from dpnb.loading.weights.common_dtype import find_common_dtype
from dpnb.loading.weights.legacy_keys import rename_legacy_keys
from dpnb.loading.weights.meta_init import Extent, assign_state, init_parameters_on_meta
from dpnb.pipelines.attached.diffusers_classes import LIBRARY, find_diffusers_class
from dpnb.pipelines.storage.origin import Origin
from dpnb.planning.header_parts import build_transformers_model, check_shapes
from dpnb.planning.valueless import ValuelessTensors


def build_foreign(
    origin: Origin,
    found: Mapping[str, Mapping[str, Tensor]],
    valueless_mode: ValuelessTensors,
    dtype: torch.dtype | None,
) -> Any:
    """A pipeline of diffusers whose networks are valueless. No code of the checkpoint is run.

    Args:
        origin: the small files.
        found: what the headers of weights say, by component.
        valueless_mode: the mode in which its networks will run.
        dtype: of floating-point weights; those of the checkpoint by default.

    Raises:
        CheckpointError: the headers are not what the settings say, or nobody has such a class.
        ComponentError: diffusers is not installed, or a component is not there.
        ForeignCodeError: code would have to run.
    """
    kind: Any = find_diffusers_class(LIBRARY, str(origin.index.class_name))
    named = inspect.signature(kind.__init__).parameters
    parts: dict[str, Any] = {}
    for name, entry in origin.index.components.items():
        if name in named:
            parts[name] = None if entry is None else _build_part(name, entry, origin, found, dtype)
    for part in parts.values():
        if isinstance(part, nn.Module):
            valueless_mode.discard_values(part)
    settings = {name: v for name, v in origin.index.settings.items() if name in named}
    lacking = [
        name
        for name, one in named.items()
        if one.default is one.empty and name not in {"self", *parts, *settings}
    ]
    if lacking:
        raise ComponentError(
            f"{origin.name} names no {', '.join(lacking)}, which {kind.__name__} is made of; "
            "download or save it again."
        )
    try:
        return kind(**parts, **settings)
    except ImportError as error:
        raise ComponentError(
            f"{kind.__name__} needs a package that is not installed ({error}); install it."
        ) from error


def _build_part(
    name: str,
    entry: ComponentClass,
    origin: Origin,
    found: Mapping[str, Mapping[str, Tensor]],
    dtype: torch.dtype | None,
) -> Any:
    code = origin.custom_component(name)
    if code is not None:
        raise ForeignCodeError(
            f"Planning would run {name}/{code.module}.py of {origin.name}, and runs no code of a "
            "checkpoint; load the pipeline yourself, and plan for that: dpnb.plan(pipe)."
        )
    cls = _resolve(entry)
    folder = origin.folder / name
    held = dict(found.get(name, {}))
    names = _ancestors(cls)
    if "PreTrainedModel" in names:
        return _cast(build_transformers_model(cls, folder, held), held, dtype)
    if issubclass(cls, nn.Module):
        return _build_model(cls, folder, held, dtype)
    check_all_inside(folder)
    if "ConfigMixin" in names:
        path = folder / cls.config_name
        read_checkpoint_json(path)
        with explain_settings_errors(path):
            return cls.from_pretrained(folder, local_files_only=True)
    part, _ = load_transformers_component(cls, folder)
    return part


def _resolve(entry: ComponentClass) -> type[Any]:
    library, class_name = entry
    if library == "transformers":
        return resolve(library, class_name)
    place = LIBRARY if library in OUR_LIBRARIES else library
    return find_diffusers_class(place, class_name) or resolve(library, class_name)


def _ancestors(cls: type[Any]) -> set[str]:
    return {base.__name__ for base in cls.__mro__}


def _build_model(
    cls: type[Any], folder: Path, held: dict[str, Tensor], dtype: torch.dtype | None
) -> nn.Module:
    """A model of diffusers on the meta device; its buffers have values."""
    if "ConfigMixin" not in _ancestors(cls):
        raise ComponentError(
            f"{cls.__name__} of {folder.name} is made of several networks, which only loading puts "
            "together; load the pipeline with diffusers, and plan for that: dpnb.plan(pipe)."
        )
    path = folder / "config.json"
    settings = read_checkpoint_json(path)
    most = Extent.around(held) if held else None
    with explain_settings_errors(path), init_parameters_on_meta(most):
        model: nn.Module = cls.from_config(settings)
    own = model.state_dict()
    state = held if {*own} >= {*held} else rename_legacy_keys(held)
    check_shapes(own, state, folder)
    lacking = [name for name, _ in model.named_parameters() if held and name not in state]
    if lacking:
        raise CheckpointError(
            f"{folder} lacks {len(lacking)} weights of {cls.__name__}, such as {lacking[0]!r}; use "
            "the config.json that belongs to these weights, or download them again."
        )
    assign_state(model, {name: tensor for name, tensor in state.items() if name in own})
    return _cast(model, state, dtype)


def _cast(model: nn.Module, held: Mapping[str, Tensor], dtype: torch.dtype | None) -> nn.Module:
    """The model in the dtype in which it would be loaded, layers that stay in float32 aside."""
    wanted = find_common_dtype(held) if dtype is None else dtype
    kept = frozenset(_names_in_float32(type(model), wanted))
    made: dict[int, nn.Parameter] = {}
    if wanted is None:
        return model
    for path, module in model.named_modules():
        for name, tensor in _list_loaded(module):
            stays = not kept.isdisjoint(f"{path}.{name}".split("."))
            cast = tensor.detach().to(torch.float32 if stays else wanted)
            if isinstance(tensor, nn.Parameter):
                setattr(module, name, made.setdefault(id(tensor), nn.Parameter(cast)))
            else:
                setattr(module, name, cast)
    return model


def _list_loaded(module: nn.Module) -> list[tuple[str, Tensor]]:
    """The floating-point tensors of a module, not of those within, that its file has."""
    buffers = [(name, one) for name, one in module.named_buffers(recurse=False) if one.is_meta]
    found = [*module.named_parameters(recurse=False), *buffers]
    return [(name, tensor) for name, tensor in found if tensor.is_floating_point()]


def _names_in_float32(cls: type[Any], dtype: torch.dtype | None) -> list[str]:
    """The names of layers and weights that loading keeps in float32.

    Transformers does so in float16 alone, diffusers in any dtype.
    """
    kept = next(
        (
            vars(base)["_keep_in_fp32_modules"]
            for base in cls.__mro__
            if "_keep_in_fp32_modules" in vars(base)
        ),
        None,
    )
    if "PreTrainedModel" in _ancestors(cls) and dtype != torch.float16:
        return []
    return [kept] if isinstance(kept, str) else list(kept or ())
