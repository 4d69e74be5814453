"""A model of whichever class its settings name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dpnb.devices import Device, parse_device, parse_dtype
from dpnb.errors import CheckpointError
from dpnb.loading.components.registry import MODELS, resolve
from dpnb.loading.components.transformers_components import load_transformers_component
from dpnb.loading.config import load_settings
from dpnb.loading.file_selection import select_model_files
from dpnb.loading.hub import HubOptions, fetch

SETTINGS = "config.json"


class AutoModel:
    """Loads models without their class being named; it is none itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(
            "AutoModel is no model of its own; call AutoModel.from_pretrained(path, subfolder=…)."
        )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        subfolder: str | None = None,
        **options: Any,
    ) -> Any:
        """Load a model from a folder or from the hub, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder, or a hub repository's name.
            subfolder: the folder inside it that holds the model.
            options: as of `dpnb.models.model.Model.from_pretrained`; for a model of transformers
                `dtype`, `device`, `variant`, `use_safetensors` and those of the hub.

        Raises:
            CheckpointError: the settings name no class that dpnb or transformers has.
        """
        place = str(pretrained_model_name_or_path)
        hub, _ = HubOptions.split(options)
        settings = load_settings(place, SETTINGS, subfolder=subfolder, **vars(hub))
        name = settings.get("_class_name")
        if name is not None:
            kind = _resolve_model(name)
            return kind.from_pretrained(place, subfolder=subfolder, **options)
        return _load_of_transformers(place, subfolder or "", settings, options)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any] | str | Path, *, subfolder: str | None = None, **options: Any
    ) -> Any:
        """Build a model with random weights from its settings, or from where they are.

        Raises:
            CheckpointError: the settings name no class that dpnb has.
        """
        hub, changes = HubOptions.split(options)
        settings: Mapping[str, Any] = (
            load_settings(config, SETTINGS, subfolder=subfolder, **vars(hub))
            if isinstance(config, (str, Path))
            else config
        )
        name = settings.get("_class_name")
        if name is None:
            raise CheckpointError(
                "The settings name no class in _class_name; call from_config of the class itself."
            )
        return _resolve_model(name).from_config(settings, **changes)


def _resolve_model(name: str) -> Any:
    if name not in MODELS:
        raise CheckpointError(
            f"dpnb has no model {name}; those that it has are {', '.join(sorted(MODELS))}."
        )
    return resolve("diffusers", name)


def _load_of_transformers(
    place: str, subfolder: str, settings: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    architectures = settings.get("architectures") or ()
    if not architectures:
        raise CheckpointError(
            f"The settings of {place} name no class; load the model with that class itself."
        )
    kind = resolve("transformers", architectures[0])
    hub, own = HubOptions.split(options)
    files = {name: own.pop(name, None) for name in ("variant", "use_safetensors")}
    dtype, device = _parse_place(kind.__name__, own)
    folder = fetch(place, lambda names: select_model_files(names, subfolder, **files), hub)
    model, _ = load_transformers_component(
        kind, folder / subfolder, dtype=dtype, device=device, **files
    )
    return model


def _parse_place(
    name: str, options: dict[str, Any]
) -> tuple[torch.dtype | None, torch.device | None]:
    dtype = options.pop("torch_dtype", None) or options.pop("dtype", None)
    device: Device | None = options.pop("device", None)
    if options:
        raise TypeError(
            f"AutoModel has no argument {', '.join(options)} for {name}; leave it out, or load "
            "with that class itself."
        )
    return (
        torch.float32 if dtype is None else None if dtype == "auto" else parse_dtype(dtype),
        None if device is None else parse_device(device),
    )
