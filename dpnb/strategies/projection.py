"""How queries, keys and values are made: by one matrix in place of three."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from typing_extensions import override

from dpnb.models.autoencoder import Autoencoder
from dpnb.models.time_conditioning import TimeConditionedModel
from dpnb.nn.attention import Attention
from dpnb.nn.attention_projections import FUSED, fuse_linears, unfuse_linears
from dpnb.nn.quantized import lasting_quantization_of
from dpnb.strategies.networks import Networks, absence_obstacle
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo


@dataclass(frozen=True, repr=False)
class QKVFusion(Strategy):
    """Make query, key and value with one matrix product (cross-attention: key and value).

    The weights move into the joined matrix and back; they are never held twice.

    Args:
        unet: in the denoising network.
        vae: in the autoencoder.
    """

    unet: bool = True
    vae: bool = True
    slot: ClassVar = Slot.PROJECTION

    @property
    @override
    def needs(self) -> tuple[type[object], ...]:
        return (TimeConditionedModel,) * self.unet + (Autoencoder,) * self.vae

    @override
    def obstacle(self, networks: Networks) -> str | None:
        if not self.unet and not self.vae:
            return "QKVFusion(unet=False, vae=False) fuses nothing; choose at least one of them."
        is_there = next(self._layers(networks), None) is not None
        if not is_there and not networks.can_exchange(*self.needs):
            return absence_obstacle(
                "QKV fusion", "attention layers", networks, "there are none here"
            )
        for attention in self._layers(networks):
            stored = next(
                filter(None, map(lasting_quantization_of, _layers_to_join(attention))), None
            )
            if stored is not None:
                return (
                    f"QKV fusion joins full weights, and those of an attention layer are {stored} "
                    "here; load without quantization_config, or leave QKV fusion out."
                )
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Join the matrices of every layer."""
        for attention in self._layers(networks):
            for fused_name, names in attention.fusible_layers.items():
                join_layers(attention, fused_name, names, undo)
            undo.set(attention, "projection", FUSED)

    def _layers(self, networks: Networks) -> Iterator[Attention]:
        if self.unet:
            yield from networks.modules_of(Attention, "unet", "transformer")
        if self.vae:
            yield from networks.modules_of(Attention, "vae", "vqvae")


def _layers_to_join(attention: Attention) -> list[nn.Module]:
    """The layers that would be joined; none where they are already."""
    children = dict(attention.named_children())
    names = [name for group in attention.fusible_layers.values() for name in group]
    return [children[name] for name in names if name in children]


def join_layers(attention: Attention, fused_name: str, names: tuple[str, ...], undo: Undo) -> None:
    """Replace the layers of these names by one."""
    layers = {name: _linear(attention, name) for name in names}
    joined = fuse_linears(list(layers.values()))
    places = list(attention._modules)
    undo.callback(_split, attention, fused_name, joined, layers, places)
    others = {name: child for name, child in attention._modules.items() if name not in layers}
    vars(attention)["_modules"] = {**others, fused_name: joined}
    for layer in layers.values():
        for parameter in layer.parameters():
            parameter.data = parameter.new_empty(0)


def _split(
    attention: Attention,
    fused_name: str,
    joined: nn.Linear,
    layers: dict[str, nn.Linear],
    places: list[str],
) -> None:
    """Put the layers back, in their former places among the children."""
    if any(parameter.numel() == 0 for layer in layers.values() for parameter in layer.parameters()):
        unfuse_linears(joined, list(layers.values()))
    children = {**attention._modules, **layers}
    children.pop(fused_name, None)
    kept = {name: children.pop(name) for name in places}
    vars(attention)["_modules"] = {**kept, **children}


def _linear(attention: Attention, name: str) -> nn.Linear:
    layer = attention.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer
