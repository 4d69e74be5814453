"""The layers that peft has put around those of a network: what they do, and how they go again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.errors import StrategyError
from dpnb.nn.adapter_sign import AdapterSign
from dpnb.nn.quantized import quantization_of
from dpnb.nn.weight_changes import Change, Difference, LowRank
from dpnb.nn.wrapped_layers import plain_layer, unwrap

ATTRIBUTE = "peft_config"
"""Where peft keeps the settings of a network's adapters, by their names."""


@dataclass(frozen=True)
class PeftLayers:
    """peft's layers in a network, by the names of their adapters.

    Attributes:
        network: any network, also one of transformers; it need not have such layers.
    """

    network: nn.Module

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters, in the order in which they came."""
        return tuple(vars(self.network).get(ATTRIBUTE) or ())

    @property
    def active(self) -> tuple[str, ...]:
        """Those that compute."""
        on = [layer for _, layer in self._layers() if not layer.disable_adapters]
        found = dict.fromkeys(name for layer in on for name in layer.active_adapters)
        return tuple(name for name in found if name in self.names)

    def activate(self, names: Iterable[str]) -> None:
        """Let exactly these compute, and be trained; others that are named are passed over."""
        known = [name for name in names if name in self.names]
        for _, layer in self._layers():
            layer.enable_adapters(enabled=True)
            layer.set_adapter(known)

    def switch(self, *, on: bool) -> None:
        """Let all layers pass by, or those that were active compute again."""
        for _, layer in self._layers():
            layer.enable_adapters(enabled=on)

    def set_factors(self, adapter: str, factor: Callable[[str], float]) -> None:
        """Multiply an adapter.

        Args:
            adapter: its name.
            factor: by the name of the layer.
        """
        for name, layer in self._layers():
            if adapter in _scales(layer):
                layer.set_scale(adapter, factor(name))

    @contextmanager
    def scaled(self, scale: float) -> Iterator[None]:
        """Within, all adapters are multiplied by `scale`; what is set meanwhile stays."""
        before = [(scales := _scales(layer), dict(scales)) for _, layer in self._layers()]
        within = [{name: own * scale for name, own in former.items()} for _, former in before]
        for (scales, _), now in zip(before, within, strict=True):
            scales.update(now)
        try:
            yield
        finally:
            for (scales, former), now in zip(before, within, strict=True):
                if scales == now:
                    scales.update(former)

    def remove(self, names: Iterable[str]) -> None:
        """Take these adapters out, and with the last one the layers; others stay as they are."""
        gone = [name for name in names if name in self.names]
        for _, layer in self._layers():
            left = [name for name in layer.active_adapters if name not in gone]
            if left != list(layer.active_adapters):
                layer.set_adapter(left)
            for name in gone:
                layer.delete_adapter(name)
        settings = vars(self.network).get(ATTRIBUTE) or {}
        for name in gone:
            del settings[name]
        if gone and not settings:
            unwrap(self.network)
            for mark in (ATTRIBUTE, "_hf_peft_config_loaded"):
                vars(self.network).pop(mark, None)

    def state(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors of an adapter, and its settings, as files hold them."""
        from peft import get_peft_model_state_dict

        settings: Any = vars(self.network)[ATTRIBUTE][name]
        return get_peft_model_state_dict(self.network, adapter_name=name), settings.to_dict()

    def changes(self, names: Sequence[str]) -> dict[str, dict[str, Change]]:
        """What adapters add to the plain weights, by the adapter's name and the parameter's.

        Raises:
            StrategyError: the weights are quantized, or a bias is added where there is none.
        """
        found: dict[str, dict[str, Change]] = {}
        for path, layer in self._layers():
            for name in names:
                if _has(layer, name):
                    if (stored := quantization_of(plain_layer(layer))) is not None:
                        raise StrategyError(
                            f"fuse_lora changes full weights, and those of {path} are {stored}; "
                            "load without quantization_config, or leave the adapter beside them."
                        )
                    if not _can_merge(layer, name):
                        raise StrategyError(
                            f"The adapter {name!r} adds a bias to {path}, which has none to fuse "
                            "it into; train without lora_bias, or leave the adapter beside it."
                        )
                    changes = _changes(layer, name).items()
                    found.setdefault(name, {}).update({f"{path}.{key}": c for key, c in changes})
        return found

    def _layers(self) -> Iterator[tuple[str, Any]]:
        if not self.names:
            return
        from peft.tuners.tuners_utils import BaseTunerLayer

        for name, layer in self.network.named_modules():
            if isinstance(layer, BaseTunerLayer) and not isinstance(layer, AdapterSign):
                yield name, layer


def _has(layer: Any, name: str) -> bool:
    """Whether an adapter is part of one of peft's layers."""
    return any(name in layer._modules.get(kind, ()) for kind in layer.adapter_layer_names)


def _scales(layer: Any) -> dict[str, float]:
    """What the adapters of a layer are multiplied by; peft has kinds of layers that lack it."""
    found: dict[str, float] = vars(layer).get("scaling", {})
    return found


def _can_merge(layer: Any, name: str) -> bool:
    """Whether a layer has a bias, where an adapter adds one."""
    up = layer._modules.get("lora_B", {})
    added = name in up and up[name].bias is not None
    return not added or plain_layer(layer)._parameters.get("bias") is not None


@torch.no_grad()
def _changes(layer: Any, name: str) -> dict[str, Change]:
    """What an adapter adds to the parameters of one of peft's layers."""
    plain = plain_layer(layer)
    if name in vars(layer).get("lora_variant", ()) or not _is_product(layer, plain, name):
        return _measure(layer, plain, name)
    up, scale = layer.lora_B[name], layer.scaling[name]
    down = layer.lora_A[name].weight.detach().clone()
    found: dict[str, Change] = {"weight": LowRank(down, up.weight.detach().clone(), scale)}
    if up.bias is not None:
        found["bias"] = Difference(up.bias.detach().clone(), scale)
    return found


def _is_product(layer: Any, plain: nn.Module, name: str) -> bool:
    """Whether an adapter is the product of two matrices, and they fit the weight."""
    is_lora = name in layer._modules.get("lora_A", {}) and name in layer._modules["lora_B"]
    is_known = type(plain) is nn.Linear or (isinstance(plain, nn.Conv2d) and plain.groups == 1)
    return is_lora and is_known and "weight" in plain._parameters


def _measure(layer: Any, plain: nn.Module, name: str) -> dict[str, Change]:
    """What merging changes; the plain values come back exactly."""
    before = {key: p.data.clone() for key, p in plain.named_parameters(recurse=False)}
    layer.merge(adapter_names=[name])
    after: dict[str, Tensor] = {key: plain.get_parameter(key).data.clone() for key in before}
    layer.unmerge()
    for key, data in before.items():
        plain.get_parameter(key).data = data
    return {
        key: Difference(after[key].float() - data.float())
        for key, data in before.items()
        if not torch.equal(after[key], data)
    }
