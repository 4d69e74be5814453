"""Layers that others have put a layer around, as peft does, by the names that they had before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

logger = logging.getLogger(__name__)

INNER = "base_layer"
"""What a layer around another calls that one."""


def plain_layer(layer: nn.Module) -> nn.Module:
    """The layer inside those that were put around it; the layer itself where there are none."""
    while (inner := layer._modules.get(INNER)) is not None:
        layer = inner
    return layer


def unwrap(network: nn.Module) -> dict[str, nn.Module]:
    """Put every layer in the place of those around it, and return these by their names."""
    around = {
        name: layer
        for name, layer in network.named_modules()
        if INNER in layer._modules and INNER not in name.split(".")
    }
    for name, layer in around.items():
        owner, _, child = name.rpartition(".")
        network.get_submodule(owner)._modules[child] = plain_layer(layer)
    return around


@contextmanager
def unwrapped(network: nn.Module) -> Iterator[None]:
    """Within, a network that is to be saved has no layers around others, which the log tells."""
    around = unwrap(network)
    if around:
        logger.warning(
            "%s has layers of peft, which are left out; write them with save_lora_weights.",
            type(network).__name__,
        )
    try:
        yield
    finally:
        for name, layer in around.items():
            owner, _, child = name.rpartition(".")
            network.get_submodule(owner)._modules[child] = layer


def plain_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """A network's parameters without those of layers around others, by their names without them."""
    outer = {name for name, layer in network.named_modules() if INNER in layer._modules}
    for name, parameter in network.named_parameters():
        path = name.split(".")
        around = [i for i in range(1, len(path)) if ".".join(path[:i]) in outer]
        if all(path[i] == INNER for i in around):
            yield ".".join(part for i, part in enumerate(path) if i not in around), parameter
