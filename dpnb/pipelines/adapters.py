"""Low-rank weights of a pipeline's networks, by the names that people know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dpnb.errors import StrategyError
from dpnb.loading.adapters.adapter_changes import parse_adapter
from dpnb.loading.adapters.adapter_files import read_adapter
from dpnb.loading.hub import HubOptions
from dpnb.nn.weight_changes import Change
from dpnb.pipelines.adapter_saving import AdapterSaving
from dpnb.pipelines.adapter_weights import Weights, factors_for
from dpnb.pipelines.mixin import PipelineMixin
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.fused import Fused
from dpnb.strategies.lora import Factors, LoRA, components_by_adapter


class Adapters(AdapterSaving, PipelineMixin):
    """Loads low-rank weights, and lines over the strategy `LoRA`, which switches them on."""

    _disabled_lora: LoRA | None = None

    def load_lora_weights(
        self,
        pretrained_model_name_or_path_or_dict: str | Path | Mapping[str, Tensor],
        adapter_name: str | None = None,
        *,
        weight_name: str | None = None,
        subfolder: str | None = None,
        prefix: str | None = None,
        low_cpu_mem_usage: bool = True,
        use_safetensors: bool | None = None,
        hotswap: bool = False,
        **options: Any,
    ) -> None:
        """Load an adapter and switch it on, in place of others; `set_adapters` mixes them.

        Names as diffusers, peft, XLabs, ComfyUI and kohya's scripts write them are understood.
        What the adapter changes in a text encoder that is `None` here is left out.

        Args:
            pretrained_model_name_or_path_or_dict: a file, a folder, a repository of the hub, or the
                tensors by name.
            adapter_name: what to call it; `"default_0"` and so on by default.
            weight_name: of the file in a folder or repository.
            subfolder: where that file is.
            prefix: the component whose tensors are taken, where the file has several.
            low_cpu_mem_usage: has no effect: weights are mapped from their files.
            use_safetensors: has no effect: the file's name says how it is stored.
            hotswap: must be `False`: an adapter that is on is changed by `set_adapters`.
            options: how files come from the hub, as for `from_pretrained`.

        Raises:
            CheckpointError: there is no such file, or it is not for this pipeline.
            StrategyError: the networks cannot be changed so. The adapter is not loaded then.
            ValueError: there is an adapter of this name, or one is to be swapped.
        """
        if hotswap:
            raise ValueError(
                "hotswap=True is not there: load the other adapter, and choose it with "
                "set_adapters."
            )
        source = pretrained_model_name_or_path_or_dict
        taken = components_by_adapter(self.strategies.networks)
        name = adapter_name or next(
            n for i in range(len(taken) + 1) if (n := f"default_{i}") not in taken
        )
        if name in taken:
            raise ValueError(
                f"There is an adapter {name!r} already; choose another adapter_name, or remove it "
                "with delete_adapters."
            )
        adapter = read_adapter(source, weight_name, subfolder, HubOptions(**options))
        if prefix is not None:
            adapter = adapter.restricted_to(prefix)
        with self.strategies.suspended():
            changes = parse_adapter(adapter, self._changeable())
        self._add(name, changes)

    def _changeable(self) -> dict[str, nn.Module | None]:
        """The components that an adapter may change, and those of them that are not there."""
        parts = self.components.items()
        return {name: part for name, part in parts if part is None or isinstance(part, nn.Module)}

    def _add(self, name: str, changes: Mapping[str, Mapping[str, Change]]) -> None:
        attachments = {
            component: attachment_of(self.components[component]) for component in changes
        }
        try:
            for component, attachment in attachments.items():
                attachment.adapters[name] = changes[component]
            self.strategies.enable(LoRA(adapters=(name,)))
        except BaseException:
            for attachment in attachments.values():
                attachment.adapters.pop(name, None)
            raise

    def set_adapters(
        self,
        adapter_names: str | Sequence[str],
        adapter_weights: Weights | Sequence[Weights] = None,
    ) -> None:
        """Switch exactly these adapters on.

        Args:
            adapter_names: of those that are loaded.
            adapter_weights: a factor for all, or one for each; 1 by default. In place of a number,
                one by component, or by block of the UNet:
                `{"unet": {"down": 0.5, "mid": 1, "up": {"block_1": [0, 1, 0.5]}}}`.

        Raises:
            ValueError: the names or weights do not fit what is loaded, or one is fused.
        """
        names = _listed(adapter_names)
        if not names:
            raise ValueError("adapter_names is empty; name one, or call disable_lora().")
        if fused := [name for name in names if name in self.fused_loras]:
            raise ValueError(
                f"The adapter {fused[0]!r} is fused into the weights; call unfuse_lora() before "
                "you set it anew."
            )
        factors = factors_for(names, adapter_weights, self._changeable())
        active = self.strategies.find(LoRA) or LoRA()
        self.strategies.enable(_lora(active.scale, dict(zip(names, factors, strict=True))))

    def get_list_adapters(self) -> dict[str, list[str]]:
        """The adapters of each component that has any."""
        found: dict[str, list[str]] = {}
        for name, components in components_by_adapter(self.strategies.networks).items():
            for component in components:
                found.setdefault(component, []).append(name)
        return found

    def get_active_adapters(self) -> list[str]:
        """Those that are switched on."""
        return list(self._active_factors())

    def delete_adapters(self, adapter_names: str | Sequence[str]) -> None:
        """Forget these adapters; others that are on stay on, and what is fused stays fused.

        Raises:
            ValueError: one of them is not loaded.
        """
        names = _listed(adapter_names)
        self._check(names)
        active = self.strategies.find(LoRA)
        if active is not None:
            factors = self._active_factors()
            left = {name: factor for name, factor in factors.items() if name not in names}
            if left:
                self.strategies.enable(_lora(active.scale, left))
            else:
                self.strategies.disable(LoRA)
        for _, network in self.strategies.networks.items():
            attachment = attachment_of(network)
            attachment.fused.keep(names)
            for name in names:
                attachment.adapters.pop(name, None)

    def unload_lora_weights(self) -> None:
        """Forget all adapters; every weight is what it was, or what `fuse_lora` has made of it."""
        self.strategies.disable(LoRA)
        for _, network in self.strategies.networks.items():
            attachment = attachment_of(network)
            attachment.adapters.clear()
            attachment.fused = Fused()

    def disable_lora(self) -> None:
        """Switch all adapters off, those too that are fused; they stay loaded."""
        self._disabled_lora = self.strategies.find(LoRA) or self._disabled_lora
        self.strategies.disable(LoRA)
        self.unfuse_lora()

    def enable_lora(self) -> None:
        """Switch on again what `disable_lora` has switched off, or all adapters."""
        if self.strategies.find(LoRA) is not None:
            return
        former, known = self._disabled_lora, components_by_adapter(self.strategies.networks)
        is_whole = former is not None and all(name in known for name in former.adapters)
        self.strategies.enable(former if former is not None and is_whole else LoRA())

    def fuse_lora(
        self,
        components: Sequence[str] | None = None,
        lora_scale: float = 1.0,
        safe_fusing: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> None:
        """Make adapters part of the plain weights, rounded to their dtype.

        What is saved has them from now on. `unfuse_lora` brings back the weights before, exactly;
        after `unload_lora_weights` or `delete_adapters` they are merged for good.

        Args:
            components: the names of those whose weights change; all by default.
            lora_scale: of the changes, times what `set_adapters` has set.
            safe_fusing: refuse weights that would not be finite.
            adapter_names: of the adapters; those that are on by default.

        Raises:
            ValueError: a name is not known here, or nothing is on.
            StrategyError: the weights are quantized, or would not be finite.
        """
        wanted = self._parts(components)
        factors = self._active_factors()
        names = tuple(factors) if adapter_names is None else _listed(adapter_names)
        if not names:
            raise ValueError("No adapter is on; load one, or name some by adapter_names.")
        self._check(names)
        active = self.strategies.find(LoRA) or LoRA()
        scale = lora_scale * active.scale
        lora = _lora(scale, {name: factors.get(name, 1.0) for name in names})
        with self.strategies.suspended(), ExitStack() as undo:
            networks = self.strategies.networks
            if (reason := lora.obstacle(networks)) is not None:
                raise StrategyError(reason)
            for component, network in networks.items(*wanted):
                changes = lora.changes(component, network)
                fused = attachment_of(network).fused
                undo.callback(fused.fuse(network, changes, safely=safe_fusing))
            undo.pop_all()

    def unfuse_lora(self, components: Sequence[str] | None = None) -> None:
        """Bring back the weights before `fuse_lora`; the adapters act as they did then.

        Args:
            components: the names of those whose weights change back; all by default.
        """
        wanted = self._parts(components)
        if self.num_fused_loras:
            with self.strategies.suspended():
                for _, network in self.strategies.networks.items(*wanted):
                    attachment_of(network).fused.unfuse(network)

    @contextmanager
    def scale_lora(self, scale: float | None) -> Iterator[None]:
        """Within, the low-rank weights that are on have this scale; `None` changes nothing."""
        before = self.strategies.find(LoRA)
        if scale is None or before is None:
            yield
            return
        within = replace(before, scale=scale)
        self.strategies.enable(within)
        try:
            yield
        finally:
            if self.strategies.find(LoRA) == within:
                self.strategies.enable(before)

    @property
    def fused_loras(self) -> set[str]:
        """The names of the adapters that are fused into some component."""
        networks = self.strategies.networks.items()
        return {name for _, network in networks for name in attachment_of(network).fused.changes}

    @property
    def num_fused_loras(self) -> int:
        """How many adapters are fused."""
        return len(self.fused_loras)

    def _active_factors(self) -> dict[str, float | Factors]:
        """The adapters that are on, and their factors."""
        active = self.strategies.find(LoRA)
        if active is None:
            return {}
        names = active.adapters or tuple(components_by_adapter(self.strategies.networks))
        return dict(zip(names, active.weights or (1.0,) * len(names), strict=True))

    def _check(self, names: Sequence[str]) -> None:
        known = components_by_adapter(self.strategies.networks)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"There is no adapter {unknown[0]!r}; those that are loaded are "
                f"{', '.join(known) or 'none'}."
            )

    def _parts(self, components: Sequence[str] | None) -> tuple[str, ...]:
        """The components of these names."""
        known = self._changeable()
        if components is None:
            return tuple(known)
        if not isinstance(components, (str, Sequence)):
            raise TypeError(
                f"components is {components!r}; give names, or the scale as "
                f"lora_scale={components!r}."
            )
        names = _listed(components)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"components names {unknown[0]!r}, which has no weights here; those that have are "
                f"{', '.join(known)}."
            )
        if not names:
            raise ValueError("components is empty; name one, or leave it out for all.")
        return names


def _listed(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _lora(scale: float, factors: Mapping[str, float | Factors]) -> LoRA:
    """The strategy for these adapters."""
    weights = tuple(factors.values())
    is_plain = all(factor == 1.0 for factor in weights)
    return LoRA(scale, tuple(factors), () if is_plain else weights)
