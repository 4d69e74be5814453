"""Taking over components that diffusers built: our modules around the same tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from dpnb.errors import QuantizationError
from dpnb.loading.components.registry import library_of, resolve
from dpnb.loading.default_settings import DEFAULTED
from dpnb.loading.weights.meta_init import init_on_meta
from dpnb.models.model import Model
from dpnb.nn.quantized import quantization_of


def adopt(part: Any) -> Any:
    """`part` itself, or our own object in place of one of diffusers'.

    A network's tensors are shared, not copied; a scheduler is built anew from its settings.

    Raises:
        QuantizationError: a network of diffusers' is quantized.
    """
    if type(part).__module__.partition(".")[0] != "diffusers":
        return part
    kind: Any = resolve(*library_of(part))
    if isinstance(part, nn.Module) and not issubclass(kind, Model):
        return _text_encoder(kind, part)
    if not issubclass(kind, Model):
        return kind.from_config(part.config)
    if (stored := quantization_of(part)) is not None:
        raise QuantizationError(
            f"A {type(part).__name__} of diffusers' with {stored} weights cannot be taken over; "
            "load it with from_pretrained(..., quantization_config=...)."
        )
    with init_on_meta():
        model = kind.from_config(present_settings(part))
    model.assign(part.state_dict(), Path(f"diffusers.{type(part).__name__}"))
    return model.train(part.training)


def present_settings(part: Any) -> dict[str, Any]:
    """The settings of a component of diffusers as they are now.

    Those that were not in its file are listed there as defaults, also when a pipeline has changed
    them since; who sets an attribute of `config` changes what is read there, and not its items.
    """
    config, told = part.config, vars(part.config)
    return {name: told.get(name, value) for name, value in config.items() if name != DEFAULTED}


def _text_encoder(kind: Any, part: Any) -> nn.Module:
    """A network that is derived from one of transformers', around the tensors of `part`."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        model: nn.Module = kind(kind.config_class(**part.config.to_dict()))
    model.load_state_dict(part.state_dict(), assign=True)
    return model.train(part.training)
