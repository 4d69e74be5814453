"""Low-rank changes of weights, folded in while they are switched on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from dpnb.nn.lowrank import LowRank
from dpnb.nn.quantized import quantization_of
from dpnb.strategies.host import Host
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.tie import tie_of
from dpnb.strategies.undo import Undo


@dataclass(frozen=True, repr=False)
class LoRA(Strategy):
    """Fold the low-rank weights that are loaded into the networks: a style, at no cost a step.

    The plain weights wait beside them, outside of an accelerator, and come back exactly.

    Args:
        scale: of all changes; 0 leaves the plain weights.
        adapters: the names of those that are folded in; all that are loaded by default.
        weights: a factor for each of them; 1 by default.
    """

    scale: float = field(default=1.0, metadata=hints(low=0.0, high=2.0, step=0.05))
    adapters: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    slot: ClassVar = Slot.WEIGHTS
    label: ClassVar = "LoRA"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights and len(self.weights) != len(self.adapters):
            raise ValueError(
                f"weights are {len(self.weights)} and adapters {len(self.adapters)}; give one "
                "weight for each adapter, or none."
            )
        if repeated := {name for name in self.adapters if self.adapters.count(name) > 1}:
            raise ValueError(f"adapters names {sorted(repeated)[0]!r} twice; name each once.")

    @property
    def effect(self) -> Effect:
        """See the base class."""
        return Effect.STYLISTIC

    def obstacle(self, host: Host) -> str | None:
        """See the base class."""
        known = loaded(host)
        if not known:
            return "No LoRA weights are loaded; load some with load_lora_weights first."
        if unknown := [name for name in self.adapters if name not in known]:
            return (
                f"There is no adapter {', '.join(map(repr, unknown))}; those that are loaded are "
                f"{', '.join(known)}."
            )
        for layer, _ in self._changes(host):
            if (stored := quantization_of(layer)) is not None:
                return (
                    f"LoRA changes full weights, and those of a layer that it changes are {stored} "
                    "here; load without quantization_config, or leave LoRA out."
                )
        return None

    def apply(self, host: Host, undo: Undo) -> None:
        """Add the changes to the weights of every layer that they are for."""
        for layer, changes in self._changes(host):
            weight = layer.get_parameter("weight")
            plain = weight.data
            undo.callback(_restore, weight, _kept(host, plain))
            weight.data = _changed(plain, changes)

    def _changes(self, host: Host) -> Iterator[tuple[nn.Module, list[LowRank]]]:
        """The layers that are changed, and by what."""
        names = self.adapters or tuple(loaded(host))
        factors = dict(zip(names, self.weights or (1.0,) * len(names), strict=True))
        for _, network in host.networks():
            found: dict[str, list[LowRank]] = {}
            for name, changes in tie_of(network).adapters.items():
                factor = self.scale * factors.get(name, 0.0)
                for layer, change in changes.items() if factor else ():
                    scaled = LowRank(change.down, change.up, factor * change.scale)
                    found.setdefault(layer, []).append(scaled)
            for layer, several in found.items():
                yield network.get_submodule(layer), several


def loaded(host: Host) -> dict[str, list[str]]:
    """The adapters of all networks, in the order in which they came, and whom each changes."""
    found: dict[str, list[str]] = {}
    for component, network in host.networks():
        for name in tie_of(network).adapters:
            found.setdefault(name, []).append(component)
    return found


def _kept(host: Host, plain: Tensor) -> Callable[[], Tensor]:
    """Keep weights, out of the way of a device; those of a mapped file need no memory."""
    return host.put_away(plain) if plain.device.type != "cpu" else lambda: plain


def _restore(weight: nn.Parameter, values: Callable[[], Tensor]) -> None:
    weight.data = values()


@torch.no_grad()
def _changed(plain: Tensor, changes: list[LowRank]) -> Tensor:
    total = plain.to(torch.float32, copy=True)
    for change in changes:
        total += change.change(plain.shape, plain.device)
    return total.to(plain.dtype)
