"""Files of low-rank weights, read and written without a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from dpnb.loading.adapters.adapter_files import StoredAdapter, read_adapter, write_adapter
from dpnb.loading.hub import HubOptions
from dpnb.pipelines.schema import Schema

LAYERS, METADATA = "_lora_layers", "_lora_adapter_metadata"
"""How arguments end that give a component's tensors, and what their trainer has noted."""

UNUSED = ("low_cpu_mem_usage", "prefix", "unet_config", "user_agent")


class AdapterFiles:
    """Reads and writes files of low-rank weights."""

    schema: ClassVar[Schema]

    @staticmethod
    def read_adapter_file(
        source: str | Path | Mapping[str, Tensor],
        weight_name: str | None,
        subfolder: str | None,
        options: Mapping[str, Any],
    ) -> StoredAdapter:
        """The adapter in a file; see `load_lora_weights`.

        Raises:
            TypeError: there is no such option.
        """
        hub, others = HubOptions.split({k: v for k, v in options.items() if k not in UNUSED})
        safe = others.pop("use_safetensors", None)
        if others:
            raise TypeError(f"load_lora_weights has no argument {', '.join(others)}; leave it out.")
        if safe is False and weight_name is None and not isinstance(source, Mapping):
            weight_name = "pytorch_lora_weights.bin"
        return read_adapter(source, weight_name, subfolder, hub)

    @classmethod
    def lora_state_dict(
        cls,
        pretrained_model_name_or_path_or_dict: str | Path | Mapping[str, Tensor],
        return_alphas: bool | None = None,
        *,
        weight_name: str | None = None,
        subfolder: str | None = None,
        return_lora_metadata: bool = False,
        **options: Any,
    ) -> Any:
        """The tensors of a file of low-rank weights, by the names that its trainer gave them.

        Args:
            pretrained_model_name_or_path_or_dict: as for `load_lora_weights`.
            return_alphas: return a pair of the tensors and of the alphas among them, which is the
                default where the denoising network is a UNet.
            weight_name: as for `load_lora_weights`.
            subfolder: likewise.
            return_lora_metadata: return what the trainer has noted, too.
            options: as for `load_lora_weights`.
        """
        read = cls.read_adapter_file(
            pretrained_model_name_or_path_or_dict, weight_name, subfolder, options
        )
        tensors = dict(read.tensors)
        if return_alphas is None:
            return_alphas = "unet" in cls.schema.components
        if not return_alphas and not return_lora_metadata:
            return tensors
        alphas = {k: v.item() for k, v in tensors.items() if k.endswith(".alpha")} or None
        pair = (tensors, *((alphas,) if return_alphas else ()))
        return (*pair, dict(read.settings) or None) if return_lora_metadata else pair

    @classmethod
    def save_lora_weights(
        cls,
        save_directory: str | Path,
        *layers: Mapping[str, Tensor] | nn.Module | None,
        is_main_process: bool = True,
        weight_name: str | None = None,
        save_function: None = None,
        safe_serialization: bool = True,
        **named: Any,
    ) -> None:
        """Write low-rank weights, as they come from training, into a folder.

        Args:
            save_directory: the folder; it is made where there is none.
            layers: the tensors of the denoising network, and of each text encoder, by the names of
                their layers.
            is_main_process: `False` writes nothing: of several processes one does.
            weight_name: of the file.
            save_function: must be `None`.
            safe_serialization: `False` writes a `.bin` file.
            named: `unet_lora_layers`, `transformer_lora_layers`, `text_encoder_lora_layers` and
                `text_encoder_2_lora_layers`, and what a trainer notes of each, such as
                `unet_lora_adapter_metadata`.

        Raises:
            TypeError: there is no such argument.
            ValueError: nothing is given, or a function to write it.
        """
        networks: list[str] = [n for n in ("unet", "transformer") if n in cls.schema.components]
        networks += [n for n in cls.schema.components if n.startswith("text_encoder")]
        given = dict(zip((n + LAYERS for n in networks), layers, strict=False)) | named
        known = [name + end for name in networks for end in (LAYERS, METADATA)]
        if unknown := sorted(given.keys() - {*known}):
            raise TypeError(
                f"save_lora_weights of {cls.__name__} has no argument {', '.join(unknown)}; it has "
                f"{', '.join(known)}."
            )
        tensors = {
            f"{name}.{key}": tensor
            for name in networks
            for key, tensor in _tensors(given.get(name + LAYERS)).items()
        }
        if not tensors or save_function is not None:
            raise ValueError(
                f"save_lora_weights writes {', '.join(n + LAYERS for n in networks)} by itself; "
                "give one of them, and no save_function."
            )
        settings = {
            f"{name}.{key}": value
            for name in networks
            for key, value in (given.get(name + METADATA) or {}).items()
        }
        if is_main_process:
            write_adapter(Path(save_directory), tensors, settings, weight_name, safe_serialization)


def _tensors(layers: Mapping[str, Tensor] | nn.Module | None) -> Mapping[str, Tensor]:
    return layers.state_dict() if isinstance(layers, nn.Module) else layers or {}
