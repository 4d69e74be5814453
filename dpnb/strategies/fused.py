"""Adapters that have become part of a network's plain weights, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dpnb.errors import StrategyError
from dpnb.nn.weight_changes import Change


@dataclass
class Fused:
    """What was fused into a network.

    Attributes:
        plain: the values before of every parameter that it changed, by name, on the host.
        changes: the changes that were made, by the adapter's name and the parameter's.
    """

    plain: dict[str, Tensor] = field(default_factory=dict)
    changes: dict[str, Mapping[str, Change]] = field(default_factory=dict)

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
            StrategyError: they would not be.
        """
        before, wanted = (self.plain, self.changes), self.changes | dict(changes)
        former: dict[str, Tensor] = {}

        def undo() -> None:
            for name, data in former.items():
                network.get_parameter(name).data = data
            self.plain, self.changes = before

        try:
            for name in {name: None for one in changes.values() for name in one}:
                parameter = network.get_parameter(name)
                former[name] = parameter.data
                plain = self.plain.get(name, parameter.data).to(parameter.data)
                parameter.data = apply_changes(
                    plain, [c[name] for c in wanted.values() if name in c]
                )
                if safely and not parameter.data.isfinite().all():
                    raise StrategyError(
                        f"Fusing {', '.join(changes)} would give {name} values that are not "
                        "finite; use a smaller lora_scale, or another file."
                    )
            kept = {name: data.to("cpu") for name, data in former.items() if name not in self.plain}
        except BaseException:
            undo()
            raise
        self.plain, self.changes = self.plain | kept, wanted
        return undo

    def unfuse(self, network: nn.Module) -> None:
        """Bring the plain weights back, exactly."""
        for name, plain in self.plain.items():
            parameter = network.get_parameter(name)
            parameter.data = plain.to(parameter.data)
        self.plain, self.changes = {}, {}

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
        self.plain, self.changes = plain, left


@torch.no_grad()
def apply_changes(plain: Tensor, changes: Sequence[Change]) -> Tensor:
    """`plain` with `changes`, added up in float32 or wider and rounded once."""
    total = plain.to(max(plain.dtype, torch.float32, key=lambda dtype: dtype.itemsize), copy=True)
    for change in changes:
        total += change.delta(plain)
    return total.to(plain.dtype)
