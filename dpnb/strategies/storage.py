"""How weights are stored: in a smaller dtype, or in another order in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.channel_projection import ChannelProjection
from dpnb.nn.compiled import is_compiled, plain_network
from dpnb.nn.quantized import is_quantized
from dpnb.stages import Stage
from dpnb.strategies.named_components import absent_components_obstacle, read_components
from dpnb.strategies.networks import Networks, is_foreign
from dpnb.strategies.offload.blocks import group_tied_tensors
from dpnb.strategies.offload.calls import run_calls_within
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo
from dpnb.strategies.wide_reads import WideReads

LAYOUTS: Mapping[type[nn.Module], torch.memory_format] = {
    nn.Conv2d: torch.channels_last,
    nn.Conv3d: torch.channels_last_3d,
}
"""A kind of convolution → the layout of its weight with the channels innermost."""


@dataclass(frozen=True, repr=False)
class ChannelsLast(Strategy):
    """Keep the channels of convolutions innermost in memory, which tensor cores prefer."""

    slot: ClassVar = Slot.LAYOUT

    @override
    def obstacle(self, networks: Networks) -> str | None:
        if next(self._convolutions(networks), None) is None:
            return "ChannelsLast needs convolutions in a UNet or a VAE; there are none here."
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Reorder the weights of every convolution."""
        layouts = dict(self._convolutions(networks))
        for tied in group_tied_tensors(list(layouts)):
            undo.callback(_lay_out, tied, tied[0].stride())
            data = tied[0].data.contiguous(memory_format=layouts[tied[0]])
            for weight in tied:
                weight.data = data

    def _convolutions(self, networks: Networks) -> Iterator[tuple[Tensor, torch.memory_format]]:
        """The weights of the convolutions, and how to lay them out."""
        for _, network in _denoisers_and_coders(networks):
            for layer in network.modules():
                for kind, layout in LAYOUTS.items():
                    if isinstance(layer, kind) and _has_own_weight(layer):
                        yield layer.get_parameter("weight"), layout


def _has_own_weight(layer: nn.Module) -> bool:
    """Whether the weight is there as such: not quantized, and not made of others in every call."""
    return layer._parameters.get("weight") is not None and not is_quantized(layer)


def _denoisers_and_coders(networks: Networks) -> Iterator[tuple[str, nn.Module]]:
    """All networks but the encoders of prompts and pictures that transformers has written."""
    for name, network in networks.items():
        if name in COMPONENTS or is_foreign(network):
            yield name, network


def _lay_out(tied: Sequence[Tensor], stride: tuple[int, ...]) -> None:
    """Give the elements of weights of one memory their former places in it."""
    data = tied[0].data
    if data.stride() != stride:
        data = torch.empty_strided(data.shape, stride, dtype=data.dtype, device=data.device)
        data.copy_(tied[0].data)
    for weight in tied:
        weight.data = data


COMPONENTS = ("unet", "transformer", "vae", "vqvae")
"""What pipelines call networks that draw and code pictures."""

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, ChannelProjection)

SMALLEST = 1 << 12
"""Weights of fewer bytes keep their dtype beside larger ones: they would save nothing."""

STORAGE_DTYPES = {
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, repr=False)
class LayerwiseCasting(Strategy):
    """Store large weights in a smaller dtype, and widen each layer's while it computes.

    The full weights wait outside the device, so that they come back exactly. A network's first and
    last layers, norms, biases, what is quantized and what a network says of itself keep theirs.

    Args:
        storage_dtype: `"float8_e4m3fn"`, `"float8_e5m2"`, `"bfloat16"` or `"float16"`.
        components: the components whose weights are stored so; all of them by default.
    """

    storage_dtype: str = field(
        default="float8_e4m3fn", metadata=hints(choices=tuple(STORAGE_DTYPES))
    )
    components: tuple[str, ...] = ()
    slot: ClassVar = Slot.STORAGE
    effect: ClassVar = Effect.APPROXIMATE
    relieves: ClassVar = frozenset(Stage)

    @override
    def __post_init__(self) -> None:
        given: Any = self.storage_dtype
        if isinstance(given, torch.dtype):
            object.__setattr__(self, "storage_dtype", str(given).removeprefix("torch."))
        read_components(self)
        if not isinstance(self.storage_dtype, str) or self.storage_dtype not in STORAGE_DTYPES:
            raise ValueError(
                f"storage_dtype is {self.storage_dtype!r}; use one of {', '.join(STORAGE_DTYPES)}."
            )

    @override
    def obstacle(self, networks: Networks) -> str | None:
        absent = absent_components_obstacle("LayerwiseCasting names", self.components, networks)
        if absent is not None:
            return absent
        if next(self._layers(networks), None) is None:
            return (
                f"No layer here would be smaller in {self.storage_dtype}; choose a smaller dtype, "
                "or leave LayerwiseCasting out."
            )
        named = {network: name for name, network in networks.items()}
        compiled = (named[one] for one, _ in self._layers(networks) if is_compiled(one))
        if (name := next(compiled, None)) is not None:
            return (
                f"{name} is compiled, and LayerwiseCasting would cut it into single layers, which "
                "compile for long; leave it out, or load the pipeline without compiling it."
            )
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Narrow the weights; hooks widen them around each layer's computation."""
        dtype = STORAGE_DTYPES[self.storage_dtype]
        wide_dtypes: dict[nn.Module, dict[Tensor, torch.dtype]] = {}
        layers = list(self._layers(networks))
        undo.set(networks, "stored_small", networks.stored_small | {one for _, one in layers})
        weights = dict.fromkeys(layer.get_parameter("weight") for _, layer in layers)
        widenings = {weight: Widening(weight.dtype) for weight in weights}
        for tied in group_tied_tensors(list(weights)):
            undo.keep_data(tied, networks.set_aside(tied[0].data))
            small = tied[0].data.to(dtype)
            for weight in tied:
                weight.data = small
        for network, layer in layers:
            widening = widenings[layer.get_parameter("weight")]
            wide_dtypes.setdefault(network, {})[layer.get_parameter("weight")] = widening.dtype
            undo.before(layer, widening.widen)
            undo.after(layer, widening.narrow, always_call=True)
        for network, dtypes in wide_dtypes.items():
            if is_foreign(network):
                run_calls_within(network, WideReads(dtypes), undo)

    def _layers(self, networks: Networks) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Every network with each of its layers that is stored small."""
        able = list(self._able_layers(networks))
        large = [pair for pair in able if pair[1].get_parameter("weight").nbytes >= SMALLEST]
        yield from large or able

    def _able_layers(self, networks: Networks) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Every network with each of its layers that could be stored so."""
        size = STORAGE_DTYPES[self.storage_dtype].itemsize
        for name, network in _denoisers_and_coders(networks):
            if self.components and name not in self.components:
                continue
            kept = set(plain_network(network).children())
            if is_foreign(network):
                kept |= find_precise_layers(plain_network(network))
            for layer in network.modules():
                if not isinstance(layer, LAYERS) or layer in kept or not _has_own_weight(layer):
                    continue
                if layer.get_parameter("weight").element_size() > size:
                    yield network, layer


def find_precise_layers(network: nn.Module) -> set[nn.Module]:
    """What a network of diffusers says must not be cast, and what says which dtype it has.

    Its class lists patterns of names that layerwise casting skips, and parts of names that stay in
    float32. Its pipeline takes the dtype of its first other weight for that of the network.
    """
    patterns = read_declared_names(network, "_skip_layerwise_casting_patterns")
    islands = read_declared_names(network, "_keep_in_fp32_modules")
    named = dict(network.named_modules())
    found = {
        layer
        for name, layer in named.items()
        if any(re.search(pattern, name) for pattern in patterns)
        or any(island in name for island in islands)
    }
    others = (
        name.rpartition(".")[0]
        for name, parameter in network.named_parameters()
        if parameter.is_floating_point() and not any(island in name for island in islands)
    )
    return found | {named[name] for name in islice(others, 1)}


def read_declared_names(network: nn.Module, name: str) -> tuple[str, ...]:
    """A list of names that the class of a network declares; empty where it does not."""
    said = (vars(kind)[name] for kind in type(network).__mro__ if name in vars(kind))
    found: Any = next(said, None)
    return tuple(found or ())


class Widening:
    """Hooks that let a layer compute with its weight in another dtype than it is stored in.

    Several threads may compute with the layer; the last of them narrows it again.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._stored: Tensor | None = None
        self._users = 0
        self._lock = Lock()

    def widen(self, layer: nn.Module, _: object) -> None:
        """Before the layer computes."""
        weight = layer.get_parameter("weight")
        with self._lock:
            if self._stored is None:
                self._stored = weight.data
                weight.data = self._stored.to(self.dtype)
            self._users += 1

    def narrow(self, layer: nn.Module, *_: object) -> None:
        """After it has computed, or failed to."""
        with self._lock:
            self._users -= 1
            if self._users <= 0 and self._stored is not None:
                layer.get_parameter("weight").data, self._stored = self._stored, None
                self._users = 0
