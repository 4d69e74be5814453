"""dpnb's own networks around the tensors of components that others have written."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any
from weakref import WeakSet

from torch import nn

from dpnb.errors import DpnbError, StrategyError
from dpnb.loading.components.registry import resolve
from dpnb.loading.weights.meta_init import init_on_meta
from dpnb.nn.quantized import quantization_of
from dpnb.pipelines.foreign.adoption import present_settings
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.plain_weights import keep_plain
from dpnb.strategies.undo import Undo
from dpnb.switchboard import ATTRIBUTE, STANDS_FOR

STAND_INS = frozenset({"AutoencoderKL", "FluxTransformer2DModel", "UNet2DConditionModel"})
"""Classes of diffusers for which dpnb's of the same name may stand."""


class KnownNetworks:
    """For each component of a class that dpnb has, dpnb's network of the same settings.

    It is built without tensors of its own, and gets those of the component when it is to stand for
    it; anew when the settings of the component, or the names of its weights, have changed.
    Pipelines that share a component share what stands for it.
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
        if not _has_class_of_dpnb(part):
            return None
        attachment, names = attachment_of(part), _plain_names_of(part)
        present = present_settings(part), names
        if attachment.counterpart_of != present:
            attachment.counterpart, attachment.counterpart_of = build_like(part, names), present
        self._asked.add(part)
        return attachment.counterpart

    def clear(self) -> None:
        """Let go of all tensors that no other pipeline uses."""
        for part in self._asked:
            attachment = attachment_of(part)
            if attachment.shared is None:
                attachment.counterpart = attachment.counterpart_of = None
        self._asked.clear()


def _has_class_of_dpnb(part: nn.Module) -> bool:
    kind = type(part)
    return kind.__module__.partition(".")[0] == "diffusers" and kind.__name__ in STAND_INS


def build_like(part: nn.Module, names: Set[str]) -> nn.Module | None:
    """A network of dpnb of the same class and settings, without values; `None` where it has none.

    Args:
        part: the component.
        names: of its parameters; they alone are compared: weights may be elsewhere now.
    """
    if not _has_class_of_dpnb(part) or quantization_of(part) is not None:
        return None
    ours: Any = resolve("diffusers", type(part).__name__)
    settings: Any = present_settings(part)
    try:
        with init_on_meta():
            network: nn.Module = ours.from_config(settings)
    except (DpnbError, TypeError, ValueError):
        return None  # settings that dpnb does not have
    vars(network)[STANDS_FOR] = type(part)
    return network.eval() if _names_of(network) == names else None


def share_all(network: nn.Module, part: nn.Module, undo: Undo) -> None:
    """Let `network` have the tensors of `part`, and what else is kept there."""
    share_tensors(network, part)
    share_hooks(network, part, undo)
    share_settings(network, part, undo)
    refuse_calls(part, undo)
    keep_plain([part], undo)
    vars(network)[ATTRIBUTE] = attachment_of(part)
    undo.callback(vars(network).pop, ATTRIBUTE, None)


def refuse_calls(part: nn.Module, undo: Undo) -> None:
    """Let whoever computes with `part` while dpnb's network has its weights alone be told so."""

    def refuse(*_: object) -> None:
        if not all(parameter.numel() for parameter in part.parameters()):
            raise StrategyError(
                f"dpnb's network has the weights of this {type(part).__name__} while what is "
                "switched on needs that; attach this pipeline as well, with dpnb.attach, or switch "
                "that off."
            )

    for child in part.children():
        undo.callback(child.register_forward_pre_hook(refuse).remove)


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


HOOKS = (
    "_forward_hooks",
    "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)
"""Where torch keeps what is called around a module."""


def share_hooks(network: nn.Module, part: nn.Module, undo: Undo) -> None:
    """Let what is called around `part` be called around `network`, also what comes later."""
    own, theirs = vars(network), vars(part)
    for name in HOOKS:
        undo.callback(own.__setitem__, name, own[name])
        own[name] = theirs[name]


def share_settings(network: Any, part: Any, undo: Undo) -> None:
    """Let `part` have the settings that are changed at `network` while that stands for it."""
    before = network.config

    def give_back() -> None:
        now = network.config
        changed = {name: now[name] for name in before.names() if now[name] != before[name]}
        network.config = before
        if changed:
            part.register_to_config(**changed)

    undo.callback(give_back)


def _plain_names_of(part: nn.Module) -> set[str]:
    """The names of a component's parameters while nothing is on, whatever is."""
    shared = attachment_of(part).shared
    if shared is None or not shared.applied:
        return _names_of(part)
    return shared.structure_of(part).parameter_names()


def _names_of(network: nn.Module) -> set[str]:
    return {name for name, _ in network.named_parameters()}
