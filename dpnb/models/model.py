"""The base of all networks: settings, loading, saving, and where the weights are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self, override

from dpnb.devices import Device, best_device, parse_device, parse_dtype
from dpnb.errors import CheckpointError, QuantizationError
from dpnb.loading.checkpoint_files import explain_settings_errors, read_checkpoint_json
from dpnb.loading.config import Configured, report_unknown
from dpnb.loading.file_selection import select_model_files
from dpnb.loading.hub import HubOptions, fetch
from dpnb.loading.quantization import recipe_of
from dpnb.loading.quantizer import probe, quantize
from dpnb.loading.saving.atomic_folders import replace_folder
from dpnb.loading.weights.common_dtype import cast_to_common_dtype
from dpnb.loading.weights.legacy_keys import rename_legacy_keys
from dpnb.loading.weights.loading_info import LoadingInfo
from dpnb.loading.weights.meta_init import Extent, assign_state, init_on_meta
from dpnb.loading.weights.weight_files import (
    NO_EMBEDDED_FILES,
    EmbeddedFiles,
    find_weights,
    read_weights,
    write_weights,
)
from dpnb.models.copying import Copying
from dpnb.models.network_adapters import NetworkAdapters
from dpnb.models.recomputation import Recomputing
from dpnb.models.single_file import FromSingleFile
from dpnb.models.sizes import SizedModel
from dpnb.nn.quantized import nbytes_of, quantization_of
from dpnb.switchboard import STANDS_FOR

logger = logging.getLogger(__name__)


class Model(Copying, SizedModel, Recomputing, NetworkAdapters, FromSingleFile, Configured):
    """A network with settings; both are stored in files as diffusers stores them."""

    config_name: ClassVar[str] = "config.json"
    weights_name: ClassVar[str] = "diffusion_pytorch_model"

    def __init__(self, *values: Any, **settings: Any) -> None:
        nn.Module.__init__(self)
        Configured.__init__(self, *values, **settings)

    @override
    def __getattr__(self, name: str) -> Tensor | nn.Module:
        """The setting of this name, if no layer has it: older pipelines read `unet.sample_size`."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            config: Any = vars(self).get("config", {})
            if name in config:
                return config[name]  # type: ignore[no-any-return]
            if name in dir(vars(self).get(STANDS_FOR)):
                raise AttributeError(
                    f"This {type(self).__name__} is dpnb's, which stands for another while what is "
                    f"switched on needs that, and has no {name}; call it while nothing is on."
                ) from None
            raise

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that it computes in: that of the first weight of more than one byte."""
        wide = (p for p in self.parameters() if p.is_floating_point() and p.element_size() > 1)
        return next((p.dtype for p in wide), torch.float32)

    @property
    def device(self) -> torch.device:
        """The device of the first parameter."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers."""
        return nbytes_of(self)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        subfolder: str | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device: Device | None = None,
        device_map: Device | Mapping[str, Device] | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        low_cpu_mem_usage: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        quantization_config: Any = None,
        **options: Any,
    ) -> Self | tuple[Self, LoadingInfo]:
        """Load a model from a folder or from the hub, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder, or a hub repository's name.
            subfolder: the folder inside it that holds the model.
            dtype: of the floating-point weights; `"auto"` takes the most frequent one in the file;
                float32 by default.
            torch_dtype: the same, by its former name.
            device: where the weights go, straight from the file; the CPU by default.
            device_map: the same by another name; `"auto"` is the accelerator, where there is one.
            variant: of the weight files, for example `"fp16"`.
            use_safetensors: `True` refuses `.bin` files, `False` takes only them.
            low_cpu_mem_usage: build without weights; `False` initialises them first.
            ignore_mismatched_sizes: keep random values where shapes differ, instead of an error.
            output_loading_info: return `(model, LoadingInfo)`.
            quantization_config: how weights are stored in fewer bits, for example `"int8"`.
            options: settings that override those of the file, and fields of `HubOptions`.

        Raises:
            CheckpointError: a file is missing, damaged, or of another shape than its settings.
            TypeError: there is no such option.
            ValueError: a model is to be divided among several devices.
        """
        chosen = _choose_dtype(dtype, torch_dtype)
        hub, settings = HubOptions.split({k: v for k, v in options.items() if k not in _UNUSED})
        target = _choose_device(device, device_map)
        recipe = None if quantization_config is None else recipe_of(quantization_config)
        if recipe is not None:
            probe(recipe, cls.__name__, target, None if chosen == "auto" else parse_dtype(chosen))
        files: dict[str, Any] = {"variant": variant, "use_safetensors": use_safetensors}
        model, info = cls.load(
            _fetch(pretrained_model_name_or_path, subfolder or "", files, hub),
            dtype=chosen,
            device=target if recipe is None else None,
            low_cpu_mem_usage=low_cpu_mem_usage,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            changes=settings,
            **files,
        )
        if recipe is not None:
            quantize(model, recipe, cls.__name__, target)
        return (model, info) if output_loading_info else model

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        dtype: torch.dtype | str = torch.float32,
        device: Device | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        low_cpu_mem_usage: bool = True,
        ignore_mismatched_sizes: bool = False,
        embedded: EmbeddedFiles = NO_EMBEDDED_FILES,
        changes: Mapping[str, Any] = MappingProxyType({}),
    ) -> tuple[Self, LoadingInfo]:
        """Load from the local `folder`; see `from_pretrained` and `find_weights`."""
        settings = {**read_checkpoint_json(folder / cls.config_name), **changes}
        if unknown := changes.keys() - cls._known_settings(settings):
            raise TypeError(
                f"{cls.__name__}.from_pretrained has no argument {', '.join(sorted(unknown))}, and "
                "there is no such setting; leave it out."
            )
        if settings.get("quantization_config"):
            raise QuantizationError(
                f"{folder} holds weights that are quantized already; load a checkpoint with full "
                "ones, and pass quantization_config."
            )
        files = find_weights(
            folder,
            cls.weights_name,
            variant=variant,
            use_safetensors=use_safetensors,
            embedded=embedded,
        )
        weights = read_weights(
            files,
            dtype=None if dtype == "auto" else parse_dtype(dtype),
            device=None if device is None else parse_device(device),
        )
        if dtype == "auto":
            weights = cast_to_common_dtype(weights)
        with explain_settings_errors(folder / cls.config_name):
            with init_on_meta(Extent.around(weights)):
                model = cls.from_config(settings)
            if not low_cpu_mem_usage:
                model = cls.from_config(settings)
        report_unknown(cls.__name__, model.config)
        info = model.assign(rename_legacy_keys(weights), folder, ignore_mismatched_sizes)
        return model.eval(), info

    def assign(
        self, weights: Mapping[str, Tensor], source: Path, ignore_mismatched_sizes: bool = False
    ) -> LoadingInfo:
        """Take `weights` as this model's parameters and buffers, without copying them.

        Raises:
            CheckpointError: a tensor of `source` has another shape than here, or is integer.
        """
        own = self.state_dict()
        info = LoadingInfo.of(own, weights, source)
        mismatched = info.mismatched
        if mismatched and not ignore_mismatched_sizes:
            name = mismatched[0]
            raise CheckpointError(
                f"{source}: {name} has shape {tuple(weights[name].shape)} where the settings give "
                f"{tuple(own[name].shape)} ({len(mismatched)} tensors differ); use the config.json "
                "that belongs to these weights, or pass ignore_mismatched_sizes=True."
            )
        fitting = {k: v for k, v in weights.items() if k in own and k not in mismatched}
        assign_state(self, fitting)
        self._materialise(info.missing + info.mismatched, next(iter(weights.values()), None))
        _log_differences(type(self).__name__, source, info)
        return info

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        save_function: None = None,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
    ) -> None:
        """Write settings and weights into a folder; its former files stay until all is written.

        Switched-on strategies do not change what is written.

        Args:
            save_directory: the folder; it is made where there is none.
            is_main_process: `False` writes nothing: of several processes one does.
            save_function: must be `None`.
            safe_serialization: `False` writes `.bin` files.
            variant: a word for the names of the weight files, for example `"fp16"`.
            max_shard_size: of one weight file, in bytes or as `"5GB"`.
            push_to_hub: must be `False`.

        Raises:
            QuantizationError: the weights are quantized.
            ValueError: the folder is to be uploaded, or a function is given to write it.
        """
        if push_to_hub or save_function is not None:
            raise ValueError(
                f"{type(self).__name__} is written into a folder by dpnb alone; leave push_to_hub "
                "and save_function out, and upload it with huggingface_hub.upload_folder."
            )
        if not is_main_process:
            return
        self.check_saveable()
        with self.suspended(), replace_folder(Path(save_directory)) as folder:
            self.save_config(folder)
            write_weights(
                self.state_dict(),
                folder,
                self.weights_name,
                variant=variant,
                max_shard_size=max_shard_size,
                safe_serialization=safe_serialization,
            )

    def check_saveable(self) -> None:
        """Check that the weights can be saved.

        Raises:
            QuantizationError: they are quantized.
        """
        if (kind := quantization_of(self)) is not None:
            raise QuantizationError(
                f"{type(self).__name__} holds {kind} weights, and only full ones are saved; save "
                "a pipeline that is loaded without quantization_config: what it is quantized to "
                "can be made again at every loading."
            )

    @classmethod
    def _known_settings(cls, settings: Mapping[str, Any]) -> frozenset[str]:
        """The names that settings in a file, which are these, may have."""
        return frozenset(cls.config_class.names())

    def _materialise(self, names: tuple[str, ...], like: Tensor | None) -> None:
        """Initialise the tensors `names`, in the dtype and on the device of `like`."""
        for owner in {name.rpartition(".")[0] for name in names}:
            module: Any = self.get_submodule(owner)
            own = module.named_parameters(recurse=False)
            kept = {k: v.detach() for k, v in own if not v.is_meta}
            module.to_empty(device="cpu" if like is None else like.device, recurse=False)
            if like is not None:
                module.to(like.dtype)
            module.reset_parameters()
            module.load_state_dict(kept, strict=False, assign=True)


_UNUSED = ("disable_mmap", "max_memory", "offload_folder", "offload_state_dict", "resume_download")
"""Arguments of other packages that change nothing of what is loaded here."""


def _fetch(
    place: str | Path, subfolder: str, files: Mapping[str, Any], options: HubOptions
) -> Path:
    """The folder of a model in a folder or a repository."""
    folder = fetch(place, lambda names: select_model_files(names, subfolder, **files), options)
    return folder / subfolder


def _choose_device(
    device: Device | None, device_map: Device | Mapping[str, Device] | None
) -> torch.device | None:
    place = device if device_map is None else _parse_device_map(device_map)
    return None if place is None else parse_device(place)


def _parse_device_map(device_map: Device | Mapping[str, Device]) -> Device:
    """The one device that a map gives."""
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return best_device()
    if not isinstance(device_map, Mapping):
        return device_map
    places = set(device_map.values())
    if len(places) != 1:
        raise ValueError(
            f"device_map divides a model among {len(places)} devices; give one, and divide a "
            "pipeline with dpnb.DeviceMap."
        )
    return places.pop()


def _choose_dtype(
    dtype: torch.dtype | str | None, torch_dtype: torch.dtype | str | None
) -> torch.dtype | str:
    if dtype is not None and torch_dtype is not None:
        raise ValueError("dtype and torch_dtype mean the same; give one of them.")
    chosen = dtype if dtype is not None else torch_dtype
    return torch.float32 if chosen is None else chosen


def _log_differences(class_name: str, source: Path, info: LoadingInfo) -> None:
    for names, what in (
        (info.missing, "lacks {}, which start from fresh values"),
        (info.unexpected, "holds {}, which the model does not have"),
        (info.mismatched, "has other shapes for {}, which start from fresh values"),
    ):
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            logger.warning("%s: %s %s.", class_name, source, what.format(shown))
