"""What has to stay wide while a network computes in 16 bits, as its class or its settings say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from dpnb.nn.compiled import plain_network
from dpnb.strategies.storage import read_declared_names


def overflows(network: nn.Module, dtype: torch.dtype) -> bool:
    """Whether an autoencoder's settings say that float16, if that is `dtype`, is too narrow."""
    config: Any = vars(plain_network(network)).get("config") or vars(network).get("_internal_dict")
    if dtype != torch.float16 or not isinstance(config, Mapping):
        return False
    return "force_upcast" in config and bool(config["force_upcast"])


def find_precise_tensors(network: nn.Module, dtype: torch.dtype) -> set[int]:
    """The ids of the parameters and buffers that keep their dtype when a network is cast.

    Args:
        network: not a compiled one.
        dtype: what it is cast to; nothing is kept out of float32.
    """
    if dtype.itemsize > 2:
        return set()
    packages = {kind.__module__.partition(".")[0] for kind in type(network).__mro__}
    # transformers means parts of dotted names, and float16 alone unless it is strict; diffusers
    # means any part of a name.
    is_of_transformers = "transformers" in packages
    names = read_declared_names(network, "_keep_in_fp32_modules_strict")
    if dtype == torch.float16 or not is_of_transformers:
        names += read_declared_names(network, "_keep_in_fp32_modules")
    return {
        id(tensor)
        for name, tensor in _named_tensors(network)
        if any(one in (name.split(".") if is_of_transformers else name) for one in names)
    }


def _named_tensors(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()
