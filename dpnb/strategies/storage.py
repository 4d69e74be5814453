"""How weights are stored: in a smaller dtype, or in another order in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.channel_projection import ChannelProjection
from dpnb.nn.quantized import is_quantized
from dpnb.stages import Stage
from dpnb.strategies.networks import Networks
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo


@dataclass(frozen=True, repr=False)
class ChannelsLast(Strategy):
    """Keep the channels of convolutions innermost in memory, which tensor cores prefer."""

    slot: ClassVar = Slot.LAYOUT

    @override
    def obstacle(self, networks: Networks) -> str | None:
        if next(networks.modules_of(nn.Conv2d, "unet", "vae", "vqvae"), None) is None:
            return "ChannelsLast needs convolutions in a UNet or a VAE; there are none here."
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Reorder the weights of every convolution."""
        for conv in networks.modules_of(nn.Conv2d, "unet", "vae", "vqvae"):
            undo.callback(_lay_out, conv.weight, conv.weight.stride())
            conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)


def _lay_out(weight: Tensor, stride: tuple[int, ...]) -> None:
    """Give the elements of a weight their former places in memory."""
    if weight.stride() != stride:
        weight.data = torch.empty_strided(
            weight.shape, stride, dtype=weight.dtype, device=weight.device
        ).copy_(weight.data)


LAYERS = (nn.Linear, nn.Conv2d, ChannelProjection)

SMALLEST = 1 << 12
"""Weights of fewer bytes keep their dtype: they would save nothing."""

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
    last layers, norms, biases and what is quantized keep their dtype.

    Args:
        storage_dtype: `"float8_e4m3fn"`, `"float8_e5m2"`, `"bfloat16"` or `"float16"`.
    """

    storage_dtype: str = field(
        default="float8_e4m3fn", metadata=hints(choices=tuple(STORAGE_DTYPES))
    )
    slot: ClassVar = Slot.STORAGE
    effect: ClassVar = Effect.APPROXIMATE
    relieves: ClassVar = frozenset(Stage)

    @override
    def __post_init__(self) -> None:
        if self.storage_dtype not in STORAGE_DTYPES:
            raise ValueError(
                f"storage_dtype is {self.storage_dtype!r}; use one of {', '.join(STORAGE_DTYPES)}."
            )

    @override
    def obstacle(self, networks: Networks) -> str | None:
        if next(self._layers(networks), None) is None:
            return (
                f"No layer here would be smaller in {self.storage_dtype}; choose a smaller dtype, "
                "or leave LayerwiseCasting out."
            )
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Narrow the weights; hooks widen them around each layer's computation."""
        dtype = STORAGE_DTYPES[self.storage_dtype]
        for layer in self._layers(networks):
            weight = layer.get_parameter("weight")
            undo.callback(_restore, weight, networks.set_aside(weight.data))
            widening = Widening(weight.dtype)
            weight.data = weight.data.to(dtype)
            undo.before(layer, widening.widen)
            undo.after(layer, widening.narrow, always_call=True)

    def _layers(self, networks: Networks) -> Iterator[nn.Module]:
        size = STORAGE_DTYPES[self.storage_dtype].itemsize
        for _, network in networks.items("unet", "transformer", "vae", "vqvae"):
            outer = list(network.children())
            for layer in network.modules():
                is_plain = isinstance(layer, LAYERS) and not is_quantized(layer)
                if is_plain and layer not in outer:
                    weight = layer.get_parameter("weight")
                    if weight.nbytes >= SMALLEST and weight.element_size() > size:
                        yield layer


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


def _restore(weight: nn.Parameter, values: Callable[[], Tensor]) -> None:
    weight.data = values()
