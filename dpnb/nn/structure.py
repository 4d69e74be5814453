"""What a network is made of, remembered apart from its values."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from dpnb.nn.quantized import is_wrapped, map_plain_tensors
from dpnb.switchboard import ATTRIBUTE

COPIED_BELOW = 1 << 20
"""Buffers of fewer bytes are copied with their values: positions and masks are among them."""


@dataclass(frozen=True, eq=False)
class TensorSpec:
    """What is known of a tensor beside its values.

    Attributes:
        shape: of the tensor.
        dtype: likewise.
        facts: attributes of a parameter; `None` for a buffer.
        quantized: the tensor itself on the meta device, where it wraps others.
    """

    shape: torch.Size
    dtype: torch.dtype
    facts: Mapping[str, Any] | None
    quantized: Tensor | None

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """That of a parameter or a buffer."""
        is_quantized = is_wrapped(tensor)
        quantized = map_plain_tensors(tensor.detach(), _on_meta) if is_quantized else None
        facts = vars(tensor).copy() if isinstance(tensor, nn.Parameter) else None
        return cls(tensor.shape, tensor.dtype, {} if is_quantized and facts else facts, quantized)

    def make(self) -> Tensor:
        """Such a tensor on the meta device."""
        made = self.quantized
        if made is None:
            made = torch.empty(self.shape, dtype=self.dtype, device="meta")
        if self.facts is None:
            return made
        parameter = nn.Parameter(made, requires_grad=False)
        vars(parameter).update(self.facts)
        return parameter


@dataclass(frozen=True, eq=False)
class Structure:
    """A network as it was at some time: its modules, and what each of them had.

    Parameters, and large buffers, are kept as their specs.

    Attributes:
        network: the network.
        attributes: of every module.
        kinds: the class of every module.
    """

    network: nn.Module
    attributes: Mapping[nn.Module, dict[str, Any]]
    kinds: Mapping[nn.Module, type[nn.Module]]

    @classmethod
    def of(cls, network: nn.Module) -> Self:
        """That of `network` as it is now."""
        modules = list(network.modules())
        known: dict[int, TensorSpec] = {}
        for module in modules:
            buffers = [b for b in module._buffers.values() if b is not None and _is_large(b)]
            for tensor in (*module._parameters.values(), *buffers):
                if tensor is not None and id(tensor) not in known:
                    known[id(tensor)] = TensorSpec.of(tensor)
        attributes = {module: _attributes(module, known) for module in modules}
        return cls(network, attributes, {module: type(module) for module in modules})

    def parameter_names(self) -> set[str]:
        """The names of the parameters, each once."""
        seen: set[int] = set()
        names: set[str] = set()
        waiting = [("", self.network)]
        while waiting:
            prefix, module = waiting.pop(0)
            attributes = self.attributes[module]
            for name, held in attributes["_parameters"].items():
                if held is not None and id(held) not in seen:
                    seen.add(id(held))
                    names.add(f"{prefix}{name}")
            children = attributes["_modules"].items()
            waiting[:0] = [(f"{prefix}{name}.", child) for name, child in children if child]
        return names

    def copy(self) -> nn.Module:
        """Such a network, whose parameters are on the meta device."""
        made = {module: kind.__new__(kind) for module, kind in self.kinds.items()}
        memo: dict[int, Any] = {id(module): twin for module, twin in made.items()}
        for attributes in self.attributes.values():
            for held in (*attributes["_parameters"].values(), *attributes["_buffers"].values()):
                if held is not None and id(held) not in memo:
                    memo[id(held)] = _copy_values(held) if isinstance(held, Tensor) else held.make()
            memo |= {id(held): held.detach().clone() for held in _lone_tensors(attributes)}
        for module, attributes in self.attributes.items():
            vars(made[module]).update(copy.deepcopy(attributes, memo))
        return made[self.network]


def _copy_values(tensor: Tensor) -> Tensor:
    """A tensor's values on the CPU; one without values stays so."""
    plain = tensor.detach()
    return plain.clone() if plain.is_meta else plain.cpu().clone()


def _lone_tensors(attributes: Mapping[str, Any]) -> list[Tensor]:
    """Tensors that are neither parameters nor buffers, such as old forms of weight norm leave."""
    return [held for held in attributes.values() if isinstance(held, Tensor)]


def _attributes(module: nn.Module, known: Mapping[int, TensorSpec]) -> dict[str, Any]:
    """What a module has now, with specs in the place of tensors."""
    now: dict[str, Any] = {
        name: _copy_container(value) for name, value in vars(module).items() if name != ATTRIBUTE
    }
    for name in ("_parameters", "_buffers"):
        now[name] = {key: known.get(id(tensor), tensor) for key, tensor in now[name].items()}
    return now


def _copy_container(value: Any) -> Any:
    """Another one with the same content, of containers; anything else is that itself."""
    if type(value) in (dict, OrderedDict, list, set):
        return value.copy()  # by itself `copy.copy` takes fifteen times as long
    return copy.copy(value) if isinstance(value, (dict, list, set)) else value


def _is_large(buffer: Tensor) -> bool:
    return buffer.nbytes >= COPIED_BELOW and buffer.is_floating_point()


def _on_meta(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")
