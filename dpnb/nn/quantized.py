"""Quantized weights: how they are recognised, and the plain tensors that they consist of.

torchao keeps such a weight in a tensor that wraps plain ones, bitsandbytes in a layer of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from dpnb.errors import QuantizationError

_BITSANDBYTES = "bitsandbytes"

SWITCHED = "dpnb_quantized"
"""Where a layer says that its weights are full ones, once what is switched on is off."""


def plain_tensors(tensor: Tensor) -> list[Tensor]:
    """The tensors that hold the memory of `tensor`: itself, or those that it wraps."""
    if not is_wrapped(tensor):
        return [tensor]
    wrapper: Any = tensor
    names, _ = wrapper.__tensor_flatten__()
    return [plain for name in names for plain in plain_tensors(getattr(tensor, name))]


def is_wrapped(tensor: Tensor) -> bool:
    """Whether a weight is quantized by torchao."""
    return is_traceable_wrapper_subclass(tensor)


def map_plain_tensors(tensor: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    """`tensor` with each of its `plain_tensors` replaced by what `make` returns for it."""
    if not is_wrapped(tensor):
        return make(tensor)
    wrapper: Any = tensor
    names, context = wrapper.__tensor_flatten__()
    made = {name: map_plain_tensors(getattr(tensor, name), make) for name in names}
    whole: Tensor = type(tensor).__tensor_unflatten__(  # type: ignore[attr-defined]
        made, context, tensor.shape, tensor.stride()
    )
    return whole


def is_quantized(layer: nn.Module) -> bool:
    """Whether a layer's own weights are quantized."""
    return _quantization(layer) is not None


def has_bitsandbytes_layers(network: nn.Module) -> bool:
    """Whether a network has layers of bitsandbytes, whose weights only `Module.to` can move."""
    return any(_is_of_bitsandbytes(layer) for layer in network.modules())


def quantization_of(network: nn.Module) -> str | None:
    """How the weights of a network are quantized, for example `"int8"`; `None` if none are."""
    found = dict.fromkeys(filter(None, map(_quantization, network.modules())))
    return " and ".join(found) or None


def lasting_quantization_of(network: nn.Module) -> str | None:
    """How the weights of a network were quantized when it was loaded; `None` if none were."""
    layers = (layer for layer in network.modules() if SWITCHED not in vars(layer))
    return " and ".join(dict.fromkeys(filter(None, map(_quantization, layers)))) or None


def check_cast(name: str, network: nn.Module, dtype: torch.dtype | None) -> None:
    """Check that a network can be cast to `dtype`.

    Raises:
        QuantizationError: it is quantized and computes in another dtype: the cast would do nothing.
    """
    wide = {p.dtype for p in network.parameters() if p.is_floating_point() and p.element_size() > 1}
    if dtype not in (None, *wide) and (stored := quantization_of(network)) is not None:
        raise QuantizationError(
            f"{name} holds {stored} weights, which cannot be cast to {dtype}; load the pipeline "
            f"with dtype={dtype} and the same quantization_config."
        )


def nbytes_of(network: nn.Module) -> int:
    """Bytes of all parameters and buffers as they are stored, with the scales of quantized ones."""
    layers = list(network.modules())
    own: list[dict[str, Tensor | None]] = [layer._parameters for layer in layers]  # type: ignore[misc]
    own += [layer._buffers for layer in layers]
    held = {id(tensor): tensor for some in own for tensor in some.values() if tensor is not None}
    tensors = [plain for tensor in held.values() for plain in plain_tensors(tensor)]
    tensors += list_scales(network)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def list_scales(network: nn.Module) -> list[Tensor]:
    """What layers of bitsandbytes hold beside their parameters: scales, and tables of levels.

    Of a memory that several have in common, the first.
    """
    found: dict[object, Tensor] = {}
    for layer in filter(_is_of_bitsandbytes, network.modules()):
        seen = {_memory_of(one) for one in layer._parameters.values() if one is not None}
        for tensor in _reach_tensors((layer._parameters.get("weight"), vars(layer).get("state"))):
            if _memory_of(tensor) not in seen:
                found.setdefault(_memory_of(tensor), tensor)
    return list(found.values())


def _memory_of(tensor: Tensor) -> object:
    return id(tensor) if tensor.is_meta else tensor.untyped_storage().data_ptr()


def _reach_tensors(holders: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors in the attributes of bitsandbytes' own objects, and of what these hold."""
    for holder in holders:
        if type(holder).__module__.partition(".")[0] != _BITSANDBYTES:
            continue
        values = list(vars(holder).values())
        yield from (value for value in values if type(value) is Tensor and value.numel())
        yield from _reach_tensors(one for one in values if not isinstance(one, nn.Module))


def _quantization(layer: nn.Module) -> str | None:
    weight: Any = layer._parameters.get("weight")
    if weight is None:
        return None
    if is_wrapped(weight):
        name = re.match(r"[A-Z][a-z]+[0-9x]+", type(weight.data).__name__)
        return type(weight.data).__name__ if name is None else name.group().lower()
    if _is_of_bitsandbytes(layer):
        return str(vars(weight).get("quant_type", "int8"))
    return None


def _is_of_bitsandbytes(layer: nn.Module) -> bool:
    return type(layer).__module__.partition(".")[0] == _BITSANDBYTES
