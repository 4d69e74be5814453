"""Low-rank weights of a pipeline's networks, by the names that people know."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dpnb.loading.adapters.adapter_changes import parse_adapter
from dpnb.loading.adapters.adapter_files import read_adapter
from dpnb.loading.hub import HubOptions
from dpnb.pipelines.adapter_parts import AdapterParts
from dpnb.pipelines.adapter_saving import AdapterSaving
from dpnb.pipelines.mixin import PipelineMixin
from dpnb.strategies.adapter_set import AdapterSet
from dpnb.strategies.adapter_weights import Weights, factors_for
from dpnb.strategies.lora import LoRA

logger = logging.getLogger(__name__)


class Adapters(AdapterParts, AdapterSaving, PipelineMixin):
    """Loads low-rank weights, and lines over the strategy `LoRA`, which switches them on.

    The layers of peft that `add_adapter` of a network puts in are named, switched, scaled, fused
    and removed with them.
    """

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
        What the adapter changes in a text encoder that is `None` here is left out. A layer that is
        named without its component is the denoiser's, and tensors that are no part of a LoRA are
        left out; the log tells both. A control LoRA of FLUX widens the first layer while it is on,
        for `FluxControlPipeline`.

        Args:
            pretrained_model_name_or_path_or_dict: a file, a folder, a repository of the hub, or the
                tensors by name.
            adapter_name: what to call it; `"default_0"` and so on by default.
            weight_name: of the file in a folder or repository.
            subfolder: where that file is.
            prefix: the component whose tensors are taken, where the file has several.
            low_cpu_mem_usage: has no effect: weights are mapped from their files.
            use_safetensors: has no effect: the file's name says how it is stored.
            hotswap: whether it takes the place of the adapter of this name, and is on as that was.
            options: how files come from the hub, as for `from_pretrained`.

        Raises:
            CheckpointError: there is no such file, or it is not for this pipeline.
            StrategyError: the networks cannot be changed so. The adapter is not loaded then.
            ValueError: there is an adapter of this name; or there is none, or it is fused, and it
                is to be swapped.
        """
        name = self._adapters.name_for(adapter_name, in_place=hotswap)
        source = pretrained_model_name_or_path_or_dict
        adapter = read_adapter(source, weight_name, subfolder, HubOptions(**options))
        if prefix is not None:
            adapter = adapter.restricted_to(prefix)
        with self.strategies.suspended():
            changes = parse_adapter(adapter, self._changeable())
        if hotswap:
            self._adapters.swap(name, changes)
        else:
            self._adapters.add(name, changes)

    @property
    def _adapters(self) -> AdapterSet:
        return AdapterSet(self.strategies)

    def _changeable(self) -> dict[str, nn.Module | None]:
        """The components that an adapter may change, and those of them that are not there."""
        parts = self.components.items()
        return {name: part for name, part in parts if part is None or isinstance(part, nn.Module)}

    def enable_lora_hotswap(self, target_rank: int = 128, check_compiled: str = "error") -> None:
        """Nothing: an adapter takes another's place without preparation, of whatever rank.

        Args:
            target_rank: has no effect.
            check_compiled: likewise.
        """

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
                `{"unet": {"down": 0.5, "mid": 1, "up": {"block_1": [0, 1, 0.5]}}}`. Names of
                components that are not here are told in the log.

        Raises:
            ValueError: the names or weights do not fit what is loaded, or one is fused.
            StrategyError: as well, where there is no such adapter.
        """
        names = _listed(adapter_names)
        if not names:
            raise ValueError("adapter_names is empty; name one, or call disable_lora().")
        factors = factors_for(names, adapter_weights, self._changeable())
        self._adapters.set(dict(zip(names, factors, strict=True)))

    def get_list_adapters(self) -> dict[str, list[str]]:
        """The adapters of each component that has any."""
        found: dict[str, list[str]] = {}
        for name, components in self._adapters.components.items():
            for component in components:
                found.setdefault(component, []).append(name)
        return found

    def get_active_adapters(self) -> list[str]:
        """Those that are switched on."""
        return list(self._adapters.active)

    def delete_adapters(self, adapter_names: str | Sequence[str]) -> None:
        """Forget these adapters; others that are on stay on, and what is fused stays fused.

        Args:
            adapter_names: those that are not loaded are told in the log.
        """
        names, known = _listed(adapter_names), self._adapters.components
        for name in names:
            if name not in known:
                logger.warning("There is no adapter %r to delete.", name)
        self._adapters.delete(names)

    def unload_lora_weights(self, reset_to_overwritten_params: bool = True) -> None:
        """Forget all adapters, and remove peft's layers.

        Every weight is what it was, or what `fuse_lora` has made of it, and as wide as it was.

        Args:
            reset_to_overwritten_params: has no effect: no layer stays wider than it was.
        """
        self._adapters.unload()

    def disable_lora(self) -> None:
        """Switch all adapters off, those too that are fused; they stay loaded."""
        self._disabled_lora = self.strategies.find(LoRA) or self._disabled_lora
        self._adapters.switch_off()

    def enable_lora(self) -> None:
        """Switch on again what `disable_lora` has switched off, or all adapters."""
        self._adapters.switch_on(self._disabled_lora)

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
        names = tuple(self._adapters.active) if adapter_names is None else _listed(adapter_names)
        if not names:
            raise ValueError("No adapter is on; load one, or name some by adapter_names.")
        self._adapters.fuse(names, wanted, lora_scale, safely=safe_fusing)

    def unfuse_lora(self, components: Sequence[str] | None = None) -> None:
        """Bring back the weights before `fuse_lora`; the adapters act as they did then.

        Args:
            components: the names of those whose weights change back; all by default.
        """
        self._adapters.unfuse(*self._parts(components))

    def scale_lora(self, scale: float | None) -> AbstractContextManager[None]:
        """Within, the low-rank weights that are on have this scale; `None` changes nothing."""
        return self._adapters.scaled(scale)

    @property
    def fused_loras(self) -> set[str]:
        """The names of the adapters that are fused into some component."""
        return self._adapters.fused

    @property
    def num_fused_loras(self) -> int:
        """How many adapters are fused."""
        return len(self.fused_loras)

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
