"""Adapters that have become part of a network's plain weights, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.errors import AdapterError
from dpnb.nn.input_width import WidensInput, fit_input
from dpnb.nn.weight_changes import Change, widen


@dataclass
class Fused:
    """What was fused into a network.

    Attributes:
        plain: the values before of every parameter that it changed, by name, on the host.
        changes: the changes that were made, by the adapter's name and the parameter's.
        settings: the network's before, where one of them has widened its first layer.
        resting: the adapters of peft's layers that would compute, were they not fused.
    """

    plain: dict[str, Tensor] = field(default_factory=dict)
    changes: dict[str, Mapping[str, Change]] = field(default_factory=dict)
    settings: Any = None
    resting: tuple[str, ...] = ()

    def fuse(
        self, network: nn.Module, changes: Mapping[str, Mapping[str, Change]], *, safely: bool
    ) -> Callable[[], None]:
        """Make changes part of the weights; where that fails, nothing has changed.

        Args:
            network: nothing is switched on there.
            changes: by the adapter's name and the parameter's; those fused already stay so.
            safely: whether weights that would not be finite are refused.

        Returns:
            What undoes this call alone.

        Raises:
            AdapterError: they would not be.
        """
        before, wanted = replace(self), self.changes | dict(changes)
        settings = network.config if isinstance(network, WidensInput) else None
        former: dict[str, Tensor] = {}

        def undo() -> None:
            for name, data in former.items():
                network.get_parameter(name).data = data
            _take_settings(network, settings)
            vars(self).update(vars(before))

        try:
            for name in {name: None for one in changes.values() for name in one}:
                parameter = network.get_parameter(name)
                former[name] = parameter.data
                plain = self.plain.get(name, parameter.data).to(parameter.data)
                parameter.data = apply_changes(
                    plain, [c[name] for c in wanted.values() if name in c]
                )
                if safely and not parameter.data.isfinite().all():
                    raise AdapterError(
                        f"Fusing {', '.join(changes)} would give {name} values that are not "
                        "finite; use a smaller lora_scale, or another file."
                    )
            fit_input(network)
            kept = {name: data.to("cpu") for name, data in former.items() if name not in self.plain}
        except BaseException:
            undo()
            raise
        if self.settings is None and isinstance(network, WidensInput):
            self.settings = settings
        self.plain, self.changes = self.plain | kept, wanted
        return undo

    def unfuse(self, network: nn.Module) -> None:
        """Bring the plain weights back, exactly."""
        for name, plain in self.plain.items():
            parameter = network.get_parameter(name)
            parameter.data = plain.to(parameter.data)
        _take_settings(network, self.settings)
        self.plain, self.changes, self.settings = {}, {}, None

    def keep(self, adapters: Iterable[str]) -> None:
        """Let what these adapters changed be plain from now on."""
        names = [name for name in adapters if name in self.changes]
        left = {name: one for name, one in self.changes.items() if name not in names}
        kept = {parameter for one in left.values() for parameter in one}
        plain = {name: data for name, data in self.plain.items() if name in kept}
        for adapter in names:
            for name, change in self.changes[adapter].items():
                if name in plain:
                    plain[name] = apply_changes(plain[name], [change])
        self.plain, self.changes, self.settings = plain, left, None


@torch.no_grad()
def apply_changes(plain: Tensor, changes: Sequence[Change]) -> Tensor:
    """`plain` with `changes`, added up in float32 or wider and rounded once."""
    wide, alike = widen(plain, changes)
    total = wide.to(max(plain.dtype, torch.float32, key=lambda dtype: dtype.itemsize), copy=True)
    for change in alike:
        total += change.delta(wide)
    return total.to(plain.dtype)


def _take_settings(network: nn.Module, settings: Any) -> None:
    """Let a network's first layer be as wide as its weight, and its settings be these."""
    fit_input(network)
    if settings is not None and isinstance(network, WidensInput):
        network.config = settings
