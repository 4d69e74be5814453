"""Components out of their settings and the headers of their weights, on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dpnb.errors import CheckpointError
from dpnb.loading.checkpoint_files import explain_settings_errors, read_checkpoint_json
from dpnb.loading.checkpoint_paths import check_inside
from dpnb.loading.components.transformers_components import (
    build_without_weights,
    load_transformers_component,
)
from dpnb.loading.weights.legacy_keys import match_clip_keys, rename_legacy_keys
from dpnb.loading.weights.loading_info import LoadingInfo
from dpnb.loading.weights.meta_init import Extent, assign_state, init_on_meta
from dpnb.models.model import Model
from dpnb.schedulers.scheduler import Scheduler
from dpnb.silence import silence_imports


def build_part(cls: type[Any], folder: Path, found: dict[str, Tensor]) -> Any:
    """A component of one of our classes, or of one of transformers'.

    Args:
        cls: its class.
        folder: its settings.
        found: what the headers say, on the meta device; empty where there are no weights.

    Raises:
        CheckpointError: the headers are not what the settings say.
    """
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
    with silence_imports():
        from transformers import PreTrainedModel

    if issubclass(cls, PreTrainedModel):
        return build_transformers_model(cls, folder, found)
    part, _ = load_transformers_component(cls, folder)
    return part


def build_transformers_model(cls: Any, folder: Path, found: dict[str, Tensor]) -> nn.Module:
    """A model of transformers; its buffers have values."""
    from accelerate import init_empty_weights

    check_inside(folder / "config.json")
    build_without_weights(cls, folder, Extent.around(found) if found else None)
    config = cls.config_class.from_pretrained(folder)
    with init_empty_weights(include_buffers=False):
        model: Any = cls(config)
    own = model.state_dict()
    state = match_base_keys(match_clip_keys(found, own), own, cls.base_model_prefix)
    check_shapes(own, state, folder)
    assign_state(model, {name: tensor for name, tensor in state.items() if name in own})
    model.tie_weights()
    return model  # type: ignore[no-any-return]


def match_base_keys(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], prefix: str
) -> dict[str, Tensor]:
    """`state` under the names in `expected`, where a file is of the same model with another head.

    Args:
        state: weights by name.
        expected: those of the model.
        prefix: what a model with a head calls the rest of it.
    """
    longer = {f"{prefix}.{name}": name for name in expected}
    shorter = {name.removeprefix(f"{prefix}."): name for name in expected}
    return {
        name if name in expected else longer.get(name) or shorter.get(name, name): tensor
        for name, tensor in state.items()
    }


def check_shapes(own: Mapping[str, Tensor], found: Mapping[str, Tensor], folder: Path) -> None:
    """See to it that weights have the shapes that settings give.

    Raises:
        CheckpointError: one has another shape.
    """
    for name in LoadingInfo.of(own, found, folder).mismatched:
        raise CheckpointError(
            f"{folder}: {name} has shape {tuple(found[name].shape)} where the settings give "
            f"{tuple(own[name].shape)}; use the config.json that belongs to these weights."
        )
