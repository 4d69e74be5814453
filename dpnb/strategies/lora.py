"""Low-rank changes of weights, part of the network while they are switched on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from dpnb.nn.adapter_sign import put_sign, take_sign
from dpnb.nn.attention import Attention
from dpnb.nn.input_width import WidensInput, fit_input
from dpnb.nn.lora_layers import add_lora, remove_lora, supports_lora
from dpnb.nn.quantized import lasting_quantization_of
from dpnb.nn.weight_changes import Change, LowRank, columns_after, widen
from dpnb.nn.wrapped_layers import plain_layer
from dpnb.numbers import parse_number, to_builtin
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.fused import apply_changes
from dpnb.strategies.networks import Networks
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo
from dpnb.validation import parse_names

Factors: TypeAlias = tuple[tuple[str, float], ...]
"""Parts of a pipeline, as dotted names from the component on, and a factor for each."""


@dataclass(frozen=True, repr=False)
class LoRA(Strategy):
    """Let the low-rank weights that are loaded change the networks: a style.

    They are folded into float32 weights, at no cost a step. Of 16 bits and fewer, a weight cannot
    hold a small change, so that there each layer computes it beside its weight; `fuse_lora` folds
    it in all the same. The plain weights come back exactly.

    Args:
        scale: of all changes; 0 leaves the plain weights.
        adapters: the names of those that are switched on; all that are loaded by default.
        weights: a factor for each of them, or pairs of a part's name, such as
            `"unet.up_blocks.1"`, and its factor, of which the longest name counts; 1 by default.
    """

    scale: float = field(default=1.0, metadata=hints(low=0.0, high=2.0, step=0.05))
    adapters: tuple[str, ...] = ()
    weights: tuple[float | Factors, ...] = ()
    slot: ClassVar = Slot.WEIGHTS
    label: ClassVar = "LoRA"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        names = parse_names("adapters", self.adapters, 'names of adapters, such as ("style",)')
        object.__setattr__(self, "adapters", names)
        object.__setattr__(self, "weights", _to_factors(self.weights))
        if self.weights and len(self.weights) != len(self.adapters):
            raise ValueError(
                f"weights are {len(self.weights)} and adapters {len(self.adapters)}; give one "
                "weight for each adapter, or none."
            )
        if repeated := {name for name in self.adapters if self.adapters.count(name) > 1}:
            raise ValueError(f"adapters names {sorted(repeated)[0]!r} twice; name each once.")

    @property
    @override
    def effect(self) -> Effect:
        return Effect.STYLISTIC

    @override
    def obstacle(self, networks: Networks) -> str | None:
        known = components_by_adapter(networks)
        if not known:
            return "No LoRA weights are loaded; load some with load_lora_weights first."
        if unknown := [name for name in self.adapters if name not in known]:
            return (
                f"There is no adapter {', '.join(map(repr, unknown))}; those that are loaded are "
                f"{', '.join(known)}."
            )
        if joined := next(_passed_by(networks, self), None):
            return (
                f"LoRA changes {joined}, and ComponentFusion computes by another matrix that was "
                "made of it; leave one of them out."
            )
        for layer, _ in _places(networks, self):
            if (stored := lasting_quantization_of(layer)) is not None:
                return (
                    f"LoRA changes full weights, and those of a layer that it changes are {stored} "
                    "here; load without quantization_config, or leave LoRA out."
                )
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Fold the changes in, or put them beside the weights."""
        for network in _changed(networks, self):
            undo.callback(take_sign, network)
            put_sign(network)
        for network, columns in _widths(networks, self).items():
            _widen_input(networks, network, columns, undo)
        for (layer, name), changes in _places(networks, self).items():
            parameter = layer.get_parameter(name)
            is_wide = parameter.element_size() >= 4
            beside: list[LowRank] = []
            folded: list[tuple[slice, Change]] = []
            for rows, change in _alike(parameter, changes):
                if is_wide or not isinstance(change, LowRank) or not supports_lora(layer):
                    folded.append((rows, change))
                else:
                    beside.append(_place_rows(change, rows, parameter.shape[0]))
            if folded:
                undo.keep_data([parameter], _set_aside(networks, parameter.data))
                parameter.data = _fold(parameter.data, folded)
            if beside:
                undo.callback(remove_lora, layer)
                add_lora(layer, beside)

    def changes(self, component: str, network: nn.Module) -> dict[str, dict[str, Change]]:
        """The changes of a network's parameters, by the adapter's name and the parameter's.

        Args:
            component: what its pipeline calls the network.
            network: the network; what is fused there is left out.
        """
        attachment = attachment_of(network)
        found: dict[str, dict[str, Change]] = {}
        for adapter, changes in attachment.adapters.items():
            for name, change in changes.items() if self.includes(adapter) else ():
                factor = self.scale * self.factor(adapter, f"{component}.{name}")
                if factor and adapter not in attachment.fused.changes:
                    found.setdefault(adapter, {})[name] = change.scale_by(factor)
        return found

    def includes(self, adapter: str) -> bool:
        """Whether an adapter is on."""
        return not self.adapters or adapter in self.adapters

    def factor(self, adapter: str, name: str) -> float:
        """What an adapter that is on is multiplied by, for a part of a pipeline."""
        weight = self.weights[self.adapters.index(adapter)] if self.weights else 1.0
        return factor_of(weight, name)


def factor_of(weight: float | Factors, name: str) -> float:
    """What a part of a pipeline is multiplied by, whose dotted name begins with its component's."""
    if not isinstance(weight, tuple):
        return weight
    parts = [(part, factor) for part, factor in weight if f"{name}.".startswith(f"{part}.")]
    return max(parts, key=lambda pair: len(pair[0]), default=("", 1.0))[1]


def _to_factors(weights: Any) -> tuple[float | Factors, ...]:
    """Factors, or pairs of a part's name and a factor, in Python's own numbers."""
    own = to_builtin(weights)
    if not isinstance(own, (tuple, list)):
        raise TypeError(f"weights is {weights!r}; it must be a sequence of numbers.")
    return tuple(map(_factor, own))


def _factor(weight: Any) -> float | Factors:
    is_by_part = isinstance(weight, (tuple, list)) and all(map(_is_pair, weight))
    if not is_by_part:
        return parse_number("an entry of weights", weight)
    return tuple((part, parse_number(f"the weight of {part}", factor)) for part, factor in weight)


def _is_pair(item: Any) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str)


Places: TypeAlias = dict[tuple[nn.Module, str], list[tuple[slice, Change]]]
"""By layer and name of its parameter, the rows there that are changed, and by what."""


def components_by_adapter(networks: Networks) -> dict[str, list[str]]:
    """The adapters of all networks, in the order in which they came, and whom each changes."""
    found: dict[str, list[str]] = {}
    for component, network in networks.items():
        for name in attachment_of(network).adapters:
            found.setdefault(name, []).append(component)
    return found


def _places(networks: Networks, lora: LoRA) -> Places:
    found: Places = {}
    for component, network in networks.items():
        for changes in lora.changes(component, network).values():
            for name, change in changes.items():
                path, _, parameter = name.rpartition(".")
                layer, rows = _layer(network, path)
                found.setdefault((layer, parameter), []).append((rows, change))
    return found


JOINED = ("to_qkv", "to_kv", "to_added_qkv")
"""What attention layers that dpnb did not write call a matrix that they have joined."""


def _passed_by(networks: Networks, lora: LoRA) -> Iterator[str]:
    """The changed layers of foreign networks in whose place a joined one may compute."""
    for component, network in networks.foreign_items():
        for changes in lora.changes(component, network).values():
            for name in changes:
                path = name.rpartition(".")[0]
                children = network.get_submodule(path.rpartition(".")[0])._modules
                if not children.keys().isdisjoint(JOINED):
                    yield f"{component}.{path}"


def _layer(network: nn.Module, path: str) -> tuple[nn.Module, slice]:
    """The layer of this name, or the one that it is joined in, and its rows there."""
    owner, _, child = path.rpartition(".")
    attention = network.get_submodule(owner)
    groups = attention.fusible_layers.items() if isinstance(attention, Attention) else ()
    for joined, names in groups:
        if child in names and joined in attention._modules:
            layer = attention.get_submodule(joined)
            size, place = layer.get_parameter("weight").shape[0] // len(names), names.index(child)
            return layer, slice(place * size, (place + 1) * size)
    return plain_layer(network.get_submodule(path)), slice(None)


def _changed(networks: Networks, lora: LoRA) -> set[nn.Module]:
    """The networks that adapters change which are on."""
    return {
        network
        for component, network in networks.items()
        if any(lora.changes(component, network).values())
    }


def _widths(networks: Networks, lora: LoRA) -> dict[nn.Module, int]:
    """The networks whose first layer adapters widen that are on, whatever their factors."""
    found: dict[nn.Module, int] = {}
    for _, network in networks.items():
        if isinstance(network, WidensInput):
            name = f"{network.input_layer}.weight"
            adapters = attachment_of(network).adapters.items()
            changes = [c[name] for key, c in adapters if lora.includes(key) and name in c]
            shape = network.get_parameter(name).shape
            if (columns := columns_after(shape, changes)) > shape[1]:
                found[network] = columns
    return found


def _widen_input(networks: Networks, network: nn.Module, columns: int, undo: Undo) -> None:
    """Let a network's first layer take more channels, which it multiplies by zero."""
    assert isinstance(network, WidensInput)
    layer = plain_layer(network.get_submodule(network.input_layer))
    parameter = layer.get_parameter("weight")
    undo.keep_data([parameter], _set_aside(networks, parameter.data))
    undo.set(network, "config", network.config)
    undo.set(layer, "in_features", parameter.shape[1])
    missing = columns - parameter.shape[1]
    parameter.data = functional.pad(parameter.data, (0, missing))
    fit_input(network)


def _alike(
    parameter: Tensor, changes: list[tuple[slice, Change]]
) -> Iterator[tuple[slice, Change]]:
    """Changes of a matrix, each for as many columns as that has."""
    _, wide = widen(parameter, [change for _, change in changes])
    return zip((rows for rows, _ in changes), wide, strict=True)


def _place_rows(change: LowRank, rows: slice, height: int) -> LowRank:
    """The change of a whole matrix that changes these rows of it alone."""
    up = change.up.flatten(1)
    whole = up.new_zeros(height, up.shape[1])
    whole[rows] = up
    return LowRank(change.down, whole, change.scale)


def _set_aside(networks: Networks, plain: Tensor) -> Callable[[], Tensor]:
    """Keep weights, out of the way of a device; those of a mapped file need no memory."""
    return networks.set_aside(plain) if plain.device.type != "cpu" else lambda: plain


@torch.no_grad()
def _fold(plain: Tensor, changes: list[tuple[slice, Change]]) -> Tensor:
    total = plain.clone()
    by_rows: dict[tuple[int, int], list[Change]] = {}
    for rows, change in changes:
        start, stop, _ = rows.indices(plain.shape[0])
        by_rows.setdefault((start, stop), []).append(change)
    for (start, stop), several in by_rows.items():
        total[start:stop] = apply_changes(plain[start:stop], several)
    return total
