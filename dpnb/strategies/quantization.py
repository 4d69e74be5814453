"""Weights that are stored in 8 or 4 bits, as a switch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, TypeAlias

import torch
from torch import nn
from typing_extensions import Self, override

from dpnb.errors import QuantizationError
from dpnb.loading.quantization import KINDS, NEVER_BY_DEFAULT, Recipe, StoredWeights
from dpnb.loading.quantizer import probe
from dpnb.nn.compiled import is_compiled
from dpnb.nn.quantized import quantization_of
from dpnb.silence import silence_imports
from dpnb.stages import Stage
from dpnb.strategies.named_components import (
    absent_components_obstacle,
    parse_pairs,
    read_components,
)
from dpnb.strategies.networks import Networks, first_device, valueless_obstacle
from dpnb.strategies.out_of_memory import is_out_of_memory
from dpnb.strategies.quantized_layers import Place, find_places, store_quantized
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo

Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, repr=False)
class Quantization(Strategy, StoredWeights):
    """Store the matrices of networks in 8 or 4 bits, with scales that widen them in use.

    Linear layers are quantized, but for a network's own first and last ones, those of which it says
    that they stay precise, and small ones; convolutions, norms and biases stay as they are. The
    plain weights wait outside the device, or in the file that they were mapped from, and come back
    exactly. `from_pretrained` takes the same as `quantization_config`; then there are no others.

    Args:
        kind: `"int8"`, `"int4"`, `"fp8"`, `"nf4"` or `"fp4"`; or pairs of a component and one of
            these, also as a mapping.
        backend: `"torchao"`, or `"bitsandbytes"` for nf4, fp4 and, if asked for, int8.
        group_size: inputs that share a scale, for int4; 128 by default.
        modules_to_not_convert: names of layers that stay as they are, or what a dotted part of
            their names ends in: `"proj"` means `time_emb_proj`, too.
        components: the components whose weights are stored so; by default all networks but the
            autoencoder and the safety checker.
    """

    kind: str | Pairs = field(default="int8", metadata=hints(choices=tuple(KINDS)))
    slot: ClassVar = Slot.QUANTIZATION
    effect: ClassVar = Effect.APPROXIMATE
    relieves: ClassVar = frozenset(Stage)

    @override
    def __post_init__(self) -> None:
        Strategy.__post_init__(self)
        read_components(self)
        if not isinstance(self.kind, str):
            object.__setattr__(self, "kind", _parse_kinds(self.kind))
        StoredWeights.__post_init__(self)

    @classmethod
    def of(cls, kinds: Mapping[str, str]) -> Self:
        """The strategy that stores each component in a way of its own.

        Args:
            kinds: component → kind, for example `{"unet": "int8", "text_encoder": "nf4"}`.
        """
        return cls(tuple(kinds.items()))

    @override
    def obstacle(self, networks: Networks) -> str | None:
        try:
            return self._find_obstacle(networks)
        except QuantizationError as error:
            return str(error)

    def _find_obstacle(self, networks: Networks) -> str | None:
        found = 0
        for name, network, recipe in self._choose(networks):
            if (reason := _objection(name, network)) is not None:
                return reason
            places = list(find_places(networks, name, network, recipe))
            found += len(places)
            if places:
                reason = self._try(recipe, name, network, places[0])
            elif self.recipes():
                reason = _missing_layers(networks, name, network, recipe)
            if reason is not None:
                return reason
        if found:
            return None
        kinds = " or ".join(dict.fromkeys(self.kinds))
        return (
            f"Quantization needs linear layers inside of networks that {kinds} can hold; there "
            "are none here."
        )

    def _try(self, recipe: Recipe, name: str, network: nn.Module, place: Place) -> str | None:
        stored = StoredWeights(recipe.label, self.backend, self.group_size)
        return _try_weights(stored, name, first_device(network), place.weight.dtype)

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Store layer by layer; the plain weights go as the small ones come."""
        with silence_imports():  # once for all layers
            for name, network, recipe in self._choose(networks):
                for place in list(find_places(networks, name, network, recipe)):
                    store_quantized(place, recipe, name, networks.set_aside, undo)

    def _choose(self, networks: Networks) -> Iterator[tuple[str, nn.Module, Recipe]]:
        """The networks that are quantized, with their names and recipes.

        Raises:
            QuantizationError: a component is named that is not there, or a package is missing.
        """
        by_name = self.recipes()
        known = dict(networks.items())
        absent = absent_components_obstacle("Quantization names", by_name, networks)
        if absent is not None:
            raise QuantizationError(absent)
        if by_name:
            for name, recipe in by_name.items():
                yield from ((one, network, recipe) for one, network in networks.items(name))
            return
        recipe = self.recipe()
        for name, network in known.items():
            if not name.startswith(NEVER_BY_DEFAULT) and quantization_of(network) is None:
                yield name, network, recipe


def _parse_kinds(kind: Any) -> Pairs:
    example = '{"unet": "int8"}'
    wanted = f"one of {', '.join(KINDS)}, or what each component is stored as, such as {example}"
    pairs = parse_pairs("kind", kind, wanted)
    if not pairs:
        raise TypeError(f"kind is {kind!r}; give {wanted}.")
    return pairs


def _objection(name: str, network: nn.Module) -> str | None:
    """Why a network cannot be quantized, whatever its layers are."""
    if (stored := quantization_of(network)) is not None:
        return f"The weights of {name} are {stored} already; leave it out of Quantization."
    if (reason := valueless_obstacle(name, network)) is not None:
        return reason
    if is_compiled(network):
        return (
            f"{name} is compiled, and Quantization would exchange its weights beneath that; leave "
            "it out, or load the pipeline without compiling it."
        )
    return None


def _missing_layers(
    networks: Networks, name: str, network: nn.Module, recipe: Recipe
) -> str | None:
    if not networks.stored_small.isdisjoint(network.modules()):
        return (
            f"The matrices of {name} are stored small already, by LayerwiseCasting; leave one of "
            "them out."
        )
    return (
        f"{name} has no linear layers that {recipe.label} could quantize; leave it out of "
        "Quantization."
    )


@cache
def _try_weights(
    stored: StoredWeights, name: str, device: torch.device, dtype: torch.dtype
) -> str | None:
    """Why weights of this dtype do not work so on a device; each is tried once.

    Raises:
        QuantizationError: memory ran out, which says nothing of another time.
    """
    try:
        probe(stored.recipe(), name, device, dtype)
    except QuantizationError as error:
        if error.__cause__ is not None and is_out_of_memory(error.__cause__):
            raise
        return str(error)
    return None
