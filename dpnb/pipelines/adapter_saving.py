"""Files of low-rank weights: written from what a trainer has, and read without being loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from dpnb.devices import Device, parse_device
from dpnb.loading.adapters.adapter_files import read_adapter, read_metadata, write_adapter
from dpnb.loading.hub import HubOptions

LAYERS = "_lora_layers"
"""How the arguments end that hold the weights of a component."""

SETTINGS = "_lora_adapter_metadata"
"""How those end that hold what a trainer noted of them."""


class AdapterSaving:
    """Methods of pipelines about files of low-rank weights, which need no pipeline."""

    unet_name: ClassVar[str] = "unet"
    transformer_name: ClassVar[str] = "transformer"
    text_encoder_name: ClassVar[str] = "text_encoder"

    _lora_loadable_modules: ClassVar[list[str]] = [unet_name, text_encoder_name]
    """What files of low-rank weights change, by the names that components have there."""

    lora_state_has_alphas: ClassVar[bool] = True
    """Whether `lora_state_dict` returns scales beside the weights without being asked."""

    @classmethod
    def save_lora_weights(
        cls,
        save_directory: str | Path,
        *in_order: Mapping[str, Any] | None,
        is_main_process: bool = True,
        weight_name: str | None = None,
        safe_serialization: bool = True,
        save_function: None = None,
        **layers: Mapping[str, Any] | None,
    ) -> None:
        """Write low-rank weights as one file that `load_lora_weights` reads, diffusers' too.

        Args:
            save_directory: the folder; it is made where there is none.
            in_order: the tensors of each component, in the order in which their names are known.
            is_main_process: `False`, in all processes but one, writes nothing.
            weight_name: of the file; `pytorch_lora_weights.safetensors` by default.
            safe_serialization: `False` writes a `.bin` file.
            save_function: must be `None`.
            layers: for a component, such as `unet_lora_layers=`, its tensors by name, or a module
                that has them; and `unet_lora_adapter_metadata=`, what a trainer noted of them.

        Raises:
            ValueError: there is nothing to save, or something else is to save it.
            TypeError: there is no such component.
        """
        if save_function is not None:
            raise ValueError("save_function is not called here; leave it out.")
        names = (f"{name}{LAYERS}" for name in cls._lora_loadable_modules)
        tensors, noted = cls._join({**dict(zip(names, in_order, strict=False)), **layers})
        if not is_main_process:
            return
        write_adapter(
            Path(save_directory),
            tensors,
            noted,
            weight_name=weight_name,
            safe_serialization=safe_serialization,
        )

    @classmethod
    def _join(
        cls, layers: Mapping[str, Mapping[str, Any] | nn.Module | None]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors of all components, and what was noted of them, by names in one file."""
        tensors: dict[str, Tensor] = {}
        noted: dict[str, Any] = {}
        for argument, given in layers.items():
            ending = next((end for end in (LAYERS, SETTINGS) if argument.endswith(end)), "")
            component = argument.removesuffix(ending)
            if not ending or component not in cls._lora_loadable_modules:
                known = ", ".join(f"{name}{LAYERS}" for name in cls._lora_loadable_modules)
                raise TypeError(f"save_lora_weights has no argument {argument}; it has {known}.")
            state = given.state_dict() if isinstance(given, nn.Module) else given or {}
            named = {f"{component}.{name}": value for name, value in state.items()}
            if ending == SETTINGS:
                noted |= named
            else:
                tensors |= named
        if not tensors:
            known = " or ".join(f"{name}{LAYERS}" for name in cls._lora_loadable_modules)
            raise ValueError(f"there are no weights to save; give {known}.")
        return tensors, noted

    @classmethod
    def lora_state_dict(
        cls,
        pretrained_model_name_or_path_or_dict: str | Path | Mapping[str, Tensor],
        *,
        weight_name: str | None = None,
        subfolder: str | None = None,
        use_safetensors: bool | None = None,
        return_alphas: bool = False,
        return_lora_metadata: bool = False,
        **options: Any,
    ) -> Any:
        """The tensors of a file of low-rank weights, by their names there.

        Args:
            pretrained_model_name_or_path_or_dict: as for `load_lora_weights`.
            weight_name: of the file in a folder or repository.
            subfolder: where that file is.
            use_safetensors: has no effect: the file's name says how it is stored.
            return_alphas: return scales beside them also where the class does not.
            return_lora_metadata: return what a trainer noted of them too.
            options: how files come from the hub.

        Returns:
            The tensors; with their scales by name, or `None` where the file has none; with what was
            noted, or `None`.
        """
        hub = HubOptions.split(options)[0]
        source = pretrained_model_name_or_path_or_dict
        stored = read_adapter(source, weight_name, subfolder, hub).tensors
        tensors = {name: tensor for name, tensor in stored.items() if not name.endswith(".alpha")}
        alphas = {name: float(stored[name]) for name in stored.keys() - tensors.keys()}
        with_alphas = cls.lora_state_has_alphas or return_alphas
        found: list[Any] = [tensors, alphas or None] if with_alphas else [dict(stored)]
        if return_lora_metadata:
            found.append(read_metadata(source, weight_name, subfolder, hub))
        return tuple(found) if len(found) > 1 else found[0]

    def set_lora_device(self, adapter_names: Sequence[str], device: Device) -> None:
        """Nothing but a check of `device`: low-rank weights come to where networks compute.

        Args:
            adapter_names: of adapters that are loaded.
            device: where they would wait.
        """
        parse_device(device)
