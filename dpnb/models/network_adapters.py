"""Low-rank weights of a network by itself: of files, and layers of peft that are trained.

A network that belongs to a pipeline shares its adapters with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from torch import Tensor

from dpnb.loading.adapters.adapter_changes import parse_adapter
from dpnb.loading.adapters.adapter_files import read_adapter, write_adapter
from dpnb.loading.hub import HubOptions
from dpnb.models.copying import Copying
from dpnb.models.peft_layers import PeftLayers
from dpnb.nn.weight_changes import NO_SCALE
from dpnb.numbers import parse_number
from dpnb.switchboard import STANDS_FOR, AdapterSwitches, Switchboards

STANDING_IN = (
    "This network is dpnb's, which stands for another while what is switched on needs that; call "
    "it while nothing is on."
)


class NetworkAdapters(Copying):
    """A network that takes adapters and layers of peft."""

    part_name: ClassVar[str] = "unet"
    """The name of the component that the network is in a pipeline: "unet", for example."""

    def add_adapter(self, adapter_config: Any, adapter_name: str = "default") -> None:
        """Put peft's trainable layers beside those that the settings name.

        Args:
            adapter_config: a `peft.LoraConfig`.
            adapter_name: what to call them.

        Raises:
            NotImplementedError: the network stands for another while something is switched on.
            ValueError: there is an adapter of this name.
        """
        self._refuse_standing_in()
        from peft import inject_adapter_in_model

        if adapter_name in (*PeftLayers(self).names, *self._loaded):
            raise ValueError(
                f"There is an adapter {adapter_name!r} already; choose another adapter_name."
            )
        with warnings.catch_warnings():
            # What has two adapters is meant to have them.
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            inject_adapter_in_model(adapter_config, self, adapter_name)
        PeftLayers(self).activate([adapter_name])

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Let exactly these of peft's layers compute, and be trained.

        Raises:
            ValueError: there are none of this name.
        """
        names, layers = _listed(adapter_name), PeftLayers(self)
        if unknown := [name for name in names if name not in layers.names]:
            raise ValueError(
                f"There is no adapter {unknown[0]!r}; those that were added are "
                f"{', '.join(layers.names) or 'none'}."
            )
        layers.activate(names)

    def set_adapters(self, adapter_names: str | Sequence[str], weights: Any = None) -> None:
        """Switch exactly these on at this network.

        Args:
            adapter_names: of those that are loaded.
            weights: a number for all or one for each, or numbers by block; 1 by default.

        Raises:
            ValueError: the names or weights do not fit what is loaded, or one is fused.
        """
        self._adapters.set(_listed(adapter_names), weights)

    def active_adapters(self) -> list[str]:
        """The names of those that are on."""
        return self._adapters.active()

    def disable_adapters(self) -> None:
        """Switch all adapters of this network off; they stay loaded."""
        self._adapters.switch_off()

    def enable_adapters(self) -> None:
        """Switch on again what was switched off, or all."""
        self._adapters.switch_on()

    disable_lora, enable_lora = disable_adapters, enable_adapters

    def delete_adapters(self, adapter_names: str | Sequence[str]) -> None:
        """Forget these adapters, and remove their layers."""
        self._adapters.delete(_listed(adapter_names))

    def unload_lora(self) -> None:
        """Forget all adapters, and remove peft's layers."""
        self._adapters.unload()

    def fuse_lora(
        self,
        lora_scale: float = 1.0,
        safe_fusing: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> None:
        """Make adapters part of this network's plain weights, until `unfuse_lora`.

        Args:
            lora_scale: of the changes, times what is set.
            safe_fusing: refuse weights that would not be finite.
            adapter_names: of the adapters; those that are on by default.

        Raises:
            ValueError: there is no such adapter.
            StrategyError: the weights are quantized, or would not be finite.
        """
        self._adapters.fuse(adapter_names, lora_scale, safely=safe_fusing)

    def unfuse_lora(self) -> None:
        """Bring back the weights before `fuse_lora`, exactly."""
        self._adapters.unfuse()

    def load_lora_adapter(
        self,
        pretrained_model_name_or_path_or_dict: str | Path | Mapping[str, Tensor],
        prefix: str | None = None,
        hotswap: bool = False,
        *,
        adapter_name: str | None = None,
        weight_name: str | None = None,
        subfolder: str | None = None,
        network_alphas: Mapping[str, float] | None = None,
        metadata: Mapping[str, Any] | None = None,
        use_safetensors: bool | None = None,
        low_cpu_mem_usage: bool = False,
        _pipeline: object = None,
        **options: Any,
    ) -> None:
        """Load an adapter into this network alone, and switch it on in place of others.

        Args:
            pretrained_model_name_or_path_or_dict: as for `load_lora_weights` of a pipeline.
            prefix: how names begin of what is taken; by default what belongs to this network.
            hotswap: whether it takes the place of the adapter of this name.
            adapter_name: what to call it; `"default_0"` and so on by default.
            weight_name: of the file in a folder or repository.
            subfolder: where that file is.
            network_alphas: what the product of a layer's matrices is multiplied by, over its rank.
            metadata: settings of peft that say so, by names with the prefix.
            use_safetensors: has no effect: the file's name says how it is stored.
            low_cpu_mem_usage: has no effect.
            options: how files come from the hub, as for `from_pretrained`.

        Raises:
            NotImplementedError: the network stands for another while something is switched on.
            CheckpointError: there is no such file, or it is not for this network.
            ValueError: there is an adapter of this name, or there is none to be swapped.
        """
        switches, part = self._adapters, self.part_name
        stored = read_adapter(
            pretrained_model_name_or_path_or_dict, weight_name, subfolder, HubOptions(**options)
        )
        stored = stored.with_scales(network_alphas, metadata).of_part(part, prefix)
        name = switches.name_for(adapter_name, in_place=hotswap)
        with self.suspended():
            changes = parse_adapter(stored, {part: self})
        switches.load(name, changes[part], in_place=hotswap)

    def save_lora_adapter(
        self,
        save_directory: str | Path,
        adapter_name: str = "default",
        upcast_before_saving: bool = False,
        safe_serialization: bool = True,
        weight_name: str | None = None,
    ) -> None:
        """Write layers of peft, and their settings, as a file that `load_lora_adapter` reads.

        Args:
            save_directory: the folder; it is made where there is none.
            adapter_name: of the layers.
            upcast_before_saving: write float32, whatever they are.
            safe_serialization: `False` writes a `.bin` file.
            weight_name: of the file.

        Raises:
            NotImplementedError: the network stands for another while something is switched on.
            ValueError: there are no layers of this name.
        """
        self._refuse_standing_in()
        layers = PeftLayers(self)
        if adapter_name not in layers.names:
            raise ValueError(
                f"Adapter name {adapter_name} not found in the model. There are no such layers of "
                f"peft to save; there are {', '.join(layers.names) or 'none'}, and what was loaded "
                "from a file is that file."
            )
        tensors, settings = layers.state(adapter_name)
        if upcast_before_saving:
            tensors = {name: tensor.float() for name, tensor in tensors.items()}
        write_adapter(
            Path(save_directory),
            tensors,
            settings,
            weight_name=weight_name,
            safe_serialization=safe_serialization,
        )

    def load_attn_procs(
        self, pretrained_model_name_or_path_or_dict: str | Path | Mapping[str, Tensor], **given: Any
    ) -> None:
        """Load low-rank weights of attention; see `load_lora_adapter`."""
        self.load_lora_adapter(pretrained_model_name_or_path_or_dict, **given)

    def save_attn_procs(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: there are no trained attention processors.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "save_attn_procs writes trained attention processors, and this network has none; "
            "write layers of peft with save_lora_adapter."
        )

    def scaled_by(
        self, argument: str, given: Mapping[str, Any] | None
    ) -> AbstractContextManager[None]:
        """Within, peft's layers have the scale that a call asks for.

        Args:
            argument: of the call.
            given: what it holds, such as `{"scale": 0.5}`.

        Raises:
            ValueError: it asks for something else, or for another scale of what was loaded.
        """
        if not given:
            return nullcontext()
        scale = parse_number("scale", given.get("scale", 1.0))
        if given.keys() != {"scale"} or (self._loaded and scale != 1.0):
            raise ValueError(f"{argument} asks for {', '.join(given)}: {NO_SCALE}.")
        return PeftLayers(self).scaled(scale)

    @property
    def _adapters(self) -> AdapterSwitches:
        self._refuse_standing_in()
        return Switchboards.make(self, self.part_name).adapters

    @property
    def _loaded(self) -> list[str]:
        """The adapters that were loaded from files."""
        return [] if self.dpnb_attachment is None else list(self.dpnb_attachment.adapters)

    def _refuse_standing_in(self) -> None:
        if STANDS_FOR in vars(self):
            raise NotImplementedError(STANDING_IN)


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
