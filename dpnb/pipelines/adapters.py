"""Low-rank weights of a pipeline's networks, by the names that people know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dpnb.errors import ComponentError
from dpnb.loading.adapters import parse_adapter, read_adapter
from dpnb.loading.hub import HubOptions
from dpnb.numbers import plain
from dpnb.strategies.lora import LoRA, loaded
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.tie import tie_of


class Adapters:
    """Loads low-rank weights, and lines over the strategy `LoRA`, which folds them in."""

    @property
    def components(self) -> dict[str, Any]:
        """The components by name."""
        raise NotImplementedError

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on."""
        raise NotImplementedError

    def load_lora_weights(
        self,
        source: str | Path | Mapping[str, Tensor],
        adapter_name: str | None = None,
        *,
        weight_name: str | None = None,
        subfolder: str | None = None,
        **options: Any,
    ) -> None:
        """Load an adapter; the first one is switched on at once, others by `set_adapters`.

        Names as diffusers, peft and kohya's scripts write them are understood.

        Args:
            source: a file, a folder, a repository of the hub, or the tensors by name.
            adapter_name: what to call it; `"default_0"` and so on by default.
            weight_name: of the file in a folder or repository.
            subfolder: where that file is.
            options: how files come from the hub, as for `from_pretrained`.

        Raises:
            CheckpointError: there is no such file, or it is not for this pipeline.
            ValueError: there is an adapter of this name.
        """
        known = self.get_list_adapters()
        taken = {name for names in known.values() for name in names}
        name = adapter_name or next(
            n for i in range(len(taken) + 1) if (n := f"default_{i}") not in taken
        )
        if name in taken:
            raise ValueError(
                f"There is an adapter {name!r} already; choose another adapter_name, or remove it "
                "with delete_adapters."
            )
        if weight_name is not None and subfolder:
            weight_name = f"{subfolder}/{weight_name}"
        tensors, notes = read_adapter(source, weight_name, HubOptions(**options))
        networks = {n: p for n, p in self.components.items() if isinstance(p, nn.Module)}
        with self.strategies.suspended():
            changes = parse_adapter(tensors, notes, networks)
        if not changes:
            raise ComponentError("The adapter is empty; use a file that a trainer has written.")
        for component, layers in changes.items():
            tie_of(networks[component]).adapters[name] = layers
        if not taken:
            self.strategies.enable(LoRA(adapters=(name,)))

    def set_adapters(
        self, adapter_names: str | Sequence[str], adapter_weights: float | Sequence[float] = 1.0
    ) -> None:
        """Switch exactly these adapters on.

        Args:
            adapter_names: of those that are loaded.
            adapter_weights: a factor for all, or one for each.
        """
        names = (adapter_names,) if isinstance(adapter_names, str) else tuple(adapter_names)
        if not names:
            raise ValueError("adapter_names is empty; name one, or call disable_lora().")
        adapter_weights = plain(adapter_weights)
        if isinstance(adapter_weights, (int, float)):
            factors = (float(adapter_weights),) * len(names)
        else:
            factors = tuple(map(float, adapter_weights))
            if len(factors) != len(names):
                raise ValueError(
                    f"adapter_weights are {len(factors)} and adapter_names {len(names)}; give one "
                    "for each."
                )
        is_plain = all(factor == 1.0 for factor in factors)
        self.strategies.enable(LoRA(self._scale(), names, () if is_plain else factors))

    def get_list_adapters(self) -> dict[str, list[str]]:
        """The adapters of each component that has any."""
        found: dict[str, list[str]] = {}
        for name, components in loaded(self.strategies.host).items():
            for component in components:
                found.setdefault(component, []).append(name)
        return found

    def get_active_adapters(self) -> list[str]:
        """Those that are switched on."""
        active = self.strategies.find(LoRA)
        if active is None:
            return []
        return list(active.adapters or loaded(self.strategies.host))

    def delete_adapters(self, adapter_names: str | Sequence[str]) -> None:
        """Forget these adapters; others that are on stay on.

        Raises:
            ValueError: one of them is not loaded.
        """
        names = (adapter_names,) if isinstance(adapter_names, str) else tuple(adapter_names)
        known = loaded(self.strategies.host)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"There is no adapter {unknown[0]!r}; those that are loaded are "
                f"{', '.join(known) or 'none'}."
            )
        active = self.strategies.find(LoRA)
        if active is not None:
            on = self.get_active_adapters()
            factors = active.weights or (1.0,) * len(on)
            left = [pair for pair in zip(on, factors, strict=True) if pair[0] not in names]
            if left:
                self.set_adapters([name for name, _ in left], [factor for _, factor in left])
            else:
                self.strategies.disable(LoRA)
        for _, network in self.strategies.host.networks():
            for name in names:
                tie_of(network).adapters.pop(name, None)

    def unload_lora_weights(self) -> None:
        """Forget all adapters; every weight is what it was."""
        self.strategies.disable(LoRA)
        for _, network in self.strategies.host.networks():
            tie_of(network).adapters.clear()

    def disable_lora(self) -> None:
        """Switch all adapters off; they stay loaded."""
        self.strategies.disable(LoRA)

    def enable_lora(self) -> None:
        """Switch all adapters that are loaded on, where none is."""
        if self.strategies.find(LoRA) is None:
            self.strategies.enable(LoRA())

    def fuse_lora(self, lora_scale: float = 1.0) -> None:
        """Set the scale of what is on; it is folded into the weights in any case."""
        active = self.strategies.find(LoRA) or LoRA()
        self.strategies.enable(LoRA(lora_scale, active.adapters, active.weights))

    def unfuse_lora(self) -> None:
        """Let what is on have its own scale again."""
        active = self.strategies.find(LoRA)
        if active is not None:
            self.strategies.enable(LoRA(1.0, active.adapters, active.weights))

    def _scale(self) -> float:
        active = self.strategies.find(LoRA)
        return 1.0 if active is None else active.scale
