"""dpnb's own networks around the tensors of components that others have written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from torch import nn

from dpnb.errors import DpnbError
from dpnb.loading.components.registry import resolve
from dpnb.loading.weights.meta_init import init_on_meta
from dpnb.nn.quantized import quantization_of
from dpnb.pipelines.foreign.adoption import present_settings
from dpnb.strategies.attachment import attachment_of

STAND_INS = frozenset({"AutoencoderKL", "FluxTransformer2DModel", "UNet2DConditionModel"})
"""Classes of diffusers for which dpnb's of the same name may stand."""


class KnownNetworks:
    """For each component of a class that dpnb has, dpnb's network of the same settings.

    It is built once, without tensors of its own, and gets those of the component when it is to
    stand for it. Pipelines that share a component share what stands for it.
    """

    def __init__(self) -> None:
        self._asked: WeakSet[nn.Module] = WeakSet()

    def of(self, parts: Mapping[str, Any]) -> dict[str, nn.Module]:
        """Name of a component → dpnb's network, for those that dpnb has."""
        found = {
            name: self.network_for(part)
            for name, part in parts.items()
            if isinstance(part, nn.Module)
        }
        return {name: network for name, network in found.items() if network is not None}

    def network_for(self, part: nn.Module) -> nn.Module | None:
        """The network of dpnb for a component; `None` where it has none."""
        attachment = attachment_of(part)
        if attachment.counterpart is None and part not in self._asked:
            attachment.counterpart = build_like(part)
        self._asked.add(part)
        return attachment.counterpart

    def clear(self) -> None:
        """Let go of all tensors that no other pipeline uses."""
        for part in self._asked:
            attachment = attachment_of(part)
            if attachment.shared is None:
                attachment.counterpart = None
        self._asked.clear()


def build_like(part: nn.Module) -> nn.Module | None:
    """A network of dpnb of the same class and settings, without values; `None` where it has none.

    Names alone are compared: weights may be elsewhere now.
    """
    kind = type(part)
    if kind.__module__.partition(".")[0] != "diffusers" or kind.__name__ not in STAND_INS:
        return None
    if quantization_of(part) is not None:
        return None
    ours: Any = resolve("diffusers", kind.__name__)
    settings: Any = present_settings(part)
    try:
        with init_on_meta():
            network: nn.Module = ours.from_config(settings)
    except (DpnbError, TypeError, ValueError):
        return None  # settings that dpnb does not have
    return network.eval() if _names_of(network) == _names_of(part) else None


def share_tensors(network: nn.Module, part: nn.Module) -> None:
    """Make the parameters and buffers of `part` those of `network`, the same objects."""
    modules = dict(part.named_modules())
    for path, module in network.named_modules():
        for own, theirs in (
            (module._parameters, modules[path]._parameters if path in modules else {}),
            (module._buffers, modules[path]._buffers if path in modules else {}),
        ):
            own.update({name: theirs[name] for name in own if name in theirs})
    network.train(part.training)


def _names_of(network: nn.Module) -> set[str]:
    return {name for name, _ in network.named_parameters()}
