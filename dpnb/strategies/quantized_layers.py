"""Layers whose weights are exchanged for quantized ones, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dpnb.loading.quantization import TORCHAO, Recipe
from dpnb.loading.quantizer import choose_layers, quantize
from dpnb.nn.compiled import plain_network
from dpnb.nn.quantized import SWITCHED, is_wrapped
from dpnb.strategies.networks import Networks, is_foreign
from dpnb.strategies.offload.reached_parts import find_read_tensors
from dpnb.strategies.precise_parts import find_precise_tensors
from dpnb.strategies.storage import find_precise_layers
from dpnb.strategies.undo import HOOKS, Undo

SMALLEST = 1 << 12
"""Weights of fewer bytes stay as they are: they would save nothing."""


@dataclass(frozen=True, eq=False)
class Place:
    """A linear layer, and where it is.

    Attributes:
        parent: the module that has it.
        name: by which it has it.
        layer: the layer.
    """

    parent: nn.Module
    name: str
    layer: nn.Linear

    @property
    def weight(self) -> Tensor:
        """The plain weight, while the layer has it."""
        return self.layer.weight


def find_places(
    networks: Networks, name: str, network: nn.Module, recipe: Recipe
) -> Iterator[Place]:
    """The layers of a network that are quantized.

    Raises:
        QuantizationError: a name of those that stay is not in the network.
    """
    plain = plain_network(network)
    kept = find_precise_tensors(plain, torch.float16)
    kept |= find_read_tensors(network, networks.paths_into(network))
    precise = find_precise_layers(plain) if is_foreign(network) else set()
    uses = Counter(
        _memory_of(parameter)
        for _, one in networks.items()
        for module in one.modules()
        for parameter in module._parameters.values()
        if parameter is not None
    )
    for path in choose_layers(plain, recipe, name):
        layer = plain.get_submodule(path)
        assert isinstance(layer, nn.Linear)
        weight = layer.weight
        is_full = weight.is_floating_point() and weight.element_size() >= 2
        is_other = layer in precise or layer in networks.stored_small or id(weight) in kept
        if is_full and not is_other and weight.nbytes >= SMALLEST and uses[_memory_of(weight)] == 1:
            parent, _, own = path.rpartition(".")
            yield Place(plain.get_submodule(parent), own, layer)


def _memory_of(weight: Tensor) -> object:
    """What tells the memory of a weight from that of others."""
    is_plain = not is_wrapped(weight) and weight.numel() and not weight.is_meta
    return (weight.device, weight.data_ptr()) if is_plain else id(weight)


def store_quantized(
    place: Place,
    recipe: Recipe,
    name: str,
    set_aside: Callable[[Tensor], Callable[[], Tensor]],
    undo: Undo,
) -> None:
    """Exchange the weight of a layer, or the layer, for a quantized one.

    Args:
        place: of the layer.
        recipe: how.
        name: of the network that it is in.
        set_aside: keeps the plain weight; what it returns brings that back.
        undo: takes the inverse.
    """
    layer, weight = place.layer, place.layer.weight
    made = _quantize_copy(layer, recipe, name)
    values = set_aside(weight.data)
    if recipe.backend == TORCHAO:
        undo.callback(_take_weight, layer, weight)
        undo.callback(vars(layer).pop, SWITCHED, None)
        layer._parameters["weight"] = made._parameters["weight"]
        vars(layer)[SWITCHED] = True
    else:
        for hooks in HOOKS:
            vars(made)[hooks] = vars(layer)[hooks]
        vars(made)[SWITCHED] = True
        undo.callback(place.parent._modules.__setitem__, place.name, layer)
        place.parent._modules[place.name] = made
    undo.keep_data([weight], values)
    weight.data = weight.new_empty(0)


def _quantize_copy(layer: nn.Linear, recipe: Recipe, name: str) -> nn.Module:
    """The layer once more, quantized; it has the bias of the plain one."""
    with torch.device("meta"):
        twin = nn.Linear(layer.in_features, layer.out_features, bias=False)
    twin.weight = nn.Parameter(layer.weight.data, requires_grad=False)
    twin.bias = layer.bias
    twin.train(layer.training)
    whole = nn.Sequential(nn.Sequential(twin))
    with torch.no_grad():
        quantize(whole, Recipe(recipe.label, recipe.backend, recipe.settings), name)
    return whole.get_submodule("0.0")


def _take_weight(layer: nn.Linear, weight: nn.Parameter) -> None:
    layer._parameters["weight"] = weight
