"""Quantizing a network, and finding out beforehand whether that works on a device."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from dpnb.errors import QuantizationError
from dpnb.loading.quantization import TORCHAO, BitsAndBytes, Recipe
from dpnb.silence import silence_imports

FOUR_BIT_BLOCK = (64, 32)
"""Inputs that share a scale in the 4-bit layers of bitsandbytes, and outputs that its kernel for
CPUs takes at a time.
"""

_CHATTY = "bitsandbytes.autograd._functions"

_ROUNDED = "inputs will be cast"
"""What it says at every call of every layer: that the inputs are rounded."""

_FAILURES = (
    AssertionError,
    AttributeError,
    ImportError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What backends raise where a device or a dtype is not theirs."""


def quantize(
    network: nn.Module, recipe: Recipe, name: str, device: torch.device | None = None
) -> None:
    """Quantize the linear layers of `network`, layer by layer, and move it to `device`.

    Raises:
        QuantizationError: there are none, or a name of those that stay is not in the network.
    """
    chosen = set(choose_layers(network, recipe, name))
    if not chosen:
        raise QuantizationError(
            f"{name} has no linear layers that {recipe.label} could quantize; leave it out of "
            "quantization_config."
        )
    if recipe.backend == TORCHAO:
        with silence_imports():
            from torchao.quantization import quantize_
        quantize_(network, recipe.settings, filter_fn=lambda _, path: path in chosen, device=device)
    else:
        logging.getLogger(_CHATTY).addFilter(_is_news)
        for path in chosen:
            layer = network.get_submodule(path)
            assert isinstance(layer, nn.Linear)
            made = _of_bitsandbytes(layer, recipe.settings, device or layer.weight.device)
            network.set_submodule(path, made)
    if device is not None:
        network.to(device)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record says something else than that inputs are rounded."""
    return _ROUNDED not in str(record.msg)


def choose_layers(network: nn.Module, recipe: Recipe, name: str) -> Iterator[str]:
    """The names of the layers of `network` that `recipe` quantizes.

    Raises:
        QuantizationError: a name of those that stay is not in the network.
    """
    paths = [path for path, _ in network.named_modules()]
    for skipped in recipe.skipped:
        if not any(_is_in(skipped, path) for path in paths):
            raise QuantizationError(
                f"modules_to_not_convert names {skipped!r}, which {name} does not have; give "
                "names of its layers, or parts of them."
            )
    outer = list(network.children())
    inputs, outputs = _granularity(recipe.settings)
    for path, layer in network.named_modules():
        is_kept = layer in outer or any(_is_in(skipped, path) for skipped in recipe.skipped)
        if type(layer) is not nn.Linear or is_kept:
            continue
        if layer.in_features % inputs == 0 and layer.out_features % outputs == 0:
            yield path


def probe(
    recipe: Recipe, name: str, device: torch.device | None, dtype: torch.dtype | None
) -> None:
    """Quantize a small layer and compute with it.

    Args:
        recipe: how.
        name: of the network that is to be quantized so.
        device: where it will be; `None` is the CPU.
        dtype: of its weights; `None` is not known yet.

    Raises:
        QuantizationError: that does not work in this dtype on this device.
    """
    size, _ = _granularity(recipe.settings)
    size *= 64
    device = torch.device("cpu") if device is None else device
    dtype = torch.bfloat16 if dtype is None else dtype
    try:
        layer = nn.Linear(size, 256, device="meta").to_empty(device=device).to(dtype)
        for parameter in layer.parameters():
            nn.init.ones_(parameter)
        trial = nn.Sequential(nn.Sequential(layer))
        with torch.inference_mode(False), torch.no_grad():
            quantize(trial, Recipe(recipe.label, recipe.backend, recipe.settings), name, device)
            trial(torch.ones(2, size, device=device, dtype=dtype))
    except _FAILURES as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise QuantizationError(
            f"{recipe.label} weights of {name} do not work in "
            f"{str(dtype).removeprefix('torch.')} on {device} ({reason}); use another "
            "quantization, dtype or device."
        ) from error


def _granularity(settings: Any) -> tuple[int, int]:
    """What the inputs and the outputs of a layer have to be multiples of."""
    if isinstance(settings, BitsAndBytes):
        return (1, 1) if settings.kind == "int8" else FOUR_BIT_BLOCK
    return vars(settings).get("group_size") or 1, 1


def _is_in(part: str, path: str) -> bool:
    """Whether a module's name has a dotted part that ends in `part`, as diffusers reads it."""
    return f"{part}." in f"{path}."


def _of_bitsandbytes(layer: nn.Linear, settings: BitsAndBytes, device: torch.device) -> nn.Module:
    with silence_imports():
        from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit

    weight, has_bias = layer.weight.detach(), layer.bias is not None
    shape = (layer.in_features, layer.out_features)
    if settings.kind == "int8":
        made = Linear8bitLt(
            *shape, has_bias, has_fp16_weights=False, threshold=settings.threshold, device="meta"
        )
        made.weight = Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        made = Linear4bit(
            *shape,
            has_bias,
            compute_dtype=settings.compute_dtype or weight.dtype,
            compress_statistics=settings.nested,
            quant_type=settings.kind,
            device="meta",
        )
        made.weight = Params4bit(
            weight,
            requires_grad=False,
            compress_statistics=settings.nested,
            quant_type=settings.kind,
            module=made,
        )
    made.bias = layer.bias
    return made.to(device).train(layer.training)  # type: ignore[no-any-return]
