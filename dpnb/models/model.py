"""The base of all networks: settings, loading, saving, and where the weights are."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal, overload

import torch
from torch import Tensor, nn
from typing_extensions import Self, override

from dpnb.devices import Device, best_device, parse_device, parse_dtype
from dpnb.errors import QuantizationError, SettingsError
from dpnb.garbage import pause_garbage_collection
from dpnb.loading.checkpoint_files import explain_settings_errors, read_checkpoint_json
from dpnb.loading.config import NAME, Configured, report_unknown
from dpnb.loading.file_selection import select_model_files
from dpnb.loading.hub import HubOptions, fetch
from dpnb.loading.quantization import recipe_of
from dpnb.loading.quantizer import probe, quantize
from dpnb.loading.weights.common_dtype import cast_to_common_dtype
from dpnb.loading.weights.legacy_keys import rename_legacy_keys
from dpnb.loading.weights.loading_info import LoadingInfo
from dpnb.loading.weights.meta_init import Extent, assign_state, init_on_meta
from dpnb.loading.weights.weight_files import (
    NO_EMBEDDED_FILES,
    EmbeddedFiles,
    find_weights,
    read_weights,
)
from dpnb.models.block_switches import BlockSwitches
from dpnb.models.copying import Copying
from dpnb.models.introspection import Introspection
from dpnb.models.network_adapters import NetworkAdapters
from dpnb.models.placing_switches import PlacingSwitches
from dpnb.models.saving import Saving
from dpnb.models.single_file import FromSingleFile
from dpnb.models.step_caches import StepCacheSwitches
from dpnb.nn.quantized import nbytes_of
from dpnb.switchboard import STANDS_FOR

logger = logging.getLogger(__name__)


class Model(
    BlockSwitches,
    Introspection,
    NetworkAdapters,
    PlacingSwitches,
    StepCacheSwitches,
    Copying,
    FromSingleFile,
    Saving,
    Configured,
):
    """A network with settings; both are stored in files as diffusers stores them."""

    config_name: ClassVar[str] = "config.json"
    weights_name: ClassVar[str] = "diffusion_pytorch_model"
    hf_device_map: dict[str, torch.device]
    """Where it was loaded to, if it was loaded by a device map."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        nn.Module.__init__(self)
        Configured.__init__(self, *values, **settings)

    @override
    def __getattr__(self, name: str) -> Tensor | nn.Module:
        """The setting of this name, if no layer has it: older pipelines read `unet.sample_size`.

        They are told, by a warning, where it is.
        """
        try:
            return super().__getattr__(name)
        except AttributeError:
            config: Any = vars(self).get("config", {})
            if name in config:
                where = f"{type(self).__name__}.{name} is a setting; read it as config.{name}."
                warnings.warn(where, FutureWarning, stacklevel=2)
                return config[name]  # type: ignore[no-any-return]
            if name in dir(vars(self).get(STANDS_FOR)):
                raise AttributeError(
                    f"This {type(self).__name__} is dpnb's, which stands for another while what is "
                    f"switched on needs that, and has no {name}; call it while nothing is on."
                ) from None
            raise

    @property
    @override
    def dtype(self) -> torch.dtype:
        """The dtype that it computes in: that of its biases, which are never stored in another."""
        vectors = (p for p in self.parameters() if p.ndim == 1)
        wide = (
            p.dtype
            for p in chain(vectors, self.parameters())
            if p.is_floating_point() and p.element_size() > 1
        )
        return next(wide, torch.float32)

    @property
    def device(self) -> torch.device:
        """The device of the first parameter."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers."""
        return nbytes_of(self)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        output_loading_info: Literal[True],
        **options: Any,
    ) -> tuple[Self, LoadingInfo]: ...

    @overload
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self: ...

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
    ) -> Any:
        """Load a model from a folder or from the hub, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder, or a hub repository's name.
            subfolder: the folder inside it that holds the model.
            dtype: of the floating-point weights, float32 by default; `"auto"` is that of the file.
            torch_dtype: the same, by its former name.
            device: where the weights go, straight from the file; the CPU by default.
            device_map: likewise; `"auto"` is the device of this machine.
            variant: of the weight files, for example `"fp16"`.
            use_safetensors: `True` refuses `.bin` files, `False` takes only them.
            low_cpu_mem_usage: build without allocating weights; `False` initialises them first.
            ignore_mismatched_sizes: keep random values where shapes differ, instead of an error.
            output_loading_info: return `(model, LoadingInfo)`.
            quantization_config: how weights are stored in fewer bits, for example `"int8"`.
            options: fields of `HubOptions`, settings in place of the file's; the log tells others.

        Raises:
            CheckpointError: a file is missing, damaged, or of another shape than its settings.
        """
        hub, settings = cls._split(options)
        chosen, target = _choose_dtype(dtype, torch_dtype), _choose_device(device, device_map)
        recipe = None if quantization_config is None else recipe_of(quantization_config)
        if recipe is not None:
            probe(recipe, cls.__name__, target, None if chosen == "auto" else parse_dtype(chosen))
        inner = subfolder or ""
        files: dict[str, Any] = {"variant": variant, "use_safetensors": use_safetensors}
        select = partial(select_model_files, subfolder=inner, **files)
        model, info = cls.load(
            fetch(pretrained_model_name_or_path, select, hub) / inner,
            dtype=chosen,
            device=target if recipe is None else None,
            **files,
            low_cpu_mem_usage=low_cpu_mem_usage,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            changes=settings,
        )
        model.note_facts({NAME: str(pretrained_model_name_or_path)})
        if recipe is not None:
            quantize(model, recipe, cls.__name__, target)
        if device_map is not None:
            model.hf_device_map = {"": model.device}
        return (model, info) if output_loading_info else model

    @classmethod
    def _split(cls, options: Mapping[str, Any]) -> tuple[HubOptions, dict[str, Any]]:
        """Options of the hub, and settings."""
        hub, rest = HubOptions.split(options)
        settings = {name: rest.pop(name) for name in cls.config_class.names() if name in rest}
        if unused := sorted(name for name, value in rest.items() if value not in (None, False)):
            logger.warning("%s has no use for %s; ignored.", cls.__name__, ", ".join(unused))
        return hub, settings

    @classmethod
    @pause_garbage_collection()
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
        changes: Mapping[str, Any] | None = None,
    ) -> tuple[Self, LoadingInfo]:
        """Load from the local `folder`; see `from_pretrained` and `find_weights`."""
        settings = {**read_checkpoint_json(folder / cls.config_name), **(changes or {})}
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
        model.note_facts({NAME: str(folder)})
        info = model.assign(rename_legacy_keys(weights), folder, ignore_mismatched_sizes)
        return model.eval(), info

    def assign(
        self, weights: Mapping[str, Tensor], source: Path, ignore_mismatched_sizes: bool = False
    ) -> LoadingInfo:
        """Take `weights` as this model's parameters and buffers, without copying them.

        Raises:
            CheckpointError: a tensor of `source` is integer where here it is not.
            SettingsError: a tensor of `source` has another shape than here.
        """
        own = self.state_dict()
        info = LoadingInfo.of(own, weights, source)
        mismatched = info.mismatched
        if mismatched and not ignore_mismatched_sizes:
            name = mismatched[0]
            raise SettingsError(
                f"{source}: {name} has shape {tuple(weights[name].shape)} where the settings give "
                f"{tuple(own[name].shape)} ({len(mismatched)} tensors differ); use the config.json "
                "that belongs to these weights, or pass ignore_mismatched_sizes=True."
            )
        fitting = {k: v for k, v in weights.items() if k in own and k not in mismatched}
        assign_state(self, fitting)
        self._materialise(info.missing + info.mismatched, next(iter(weights.values()), None))
        _log_differences(type(self).__name__, source, info)
        return info

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


def _choose_dtype(
    dtype: torch.dtype | str | None, torch_dtype: torch.dtype | str | None
) -> torch.dtype | str:
    if dtype is not None and torch_dtype is not None:
        raise ValueError("dtype and torch_dtype mean the same; give one of them.")
    chosen = dtype if dtype is not None else torch_dtype
    return torch.float32 if chosen is None else chosen


def _choose_device(
    device: Device | None, device_map: Device | Mapping[str, Device] | None
) -> torch.device | None:
    """Where weights go; `None` for the CPU.

    Raises:
        ValueError: it is said twice, or differs from part to part.
    """
    if device_map is None:
        return None if device is None else parse_device(device)
    if device is not None:
        raise ValueError("device and device_map both say where weights go; give one of them.")
    if isinstance(device_map, Mapping):
        if [*device_map] != [""]:
            raise ValueError(
                f"device_map divides a network into {', '.join(device_map)}; give one device, and "
                "divide a pipeline with dpnb.DeviceMap."
            )
        device_map = device_map[""]
    is_chosen_here = device_map in ("auto", "balanced", "balanced_low_0", "sequential")
    return best_device() if is_chosen_here else parse_device(device_map)


def _log_differences(class_name: str, source: Path, info: LoadingInfo) -> None:
    for names, what in (
        (info.missing, "lacks {}, which start from fresh values"),
        (info.unexpected, "holds {}, which the model does not have"),
        (info.mismatched, "has other shapes for {}, which start from fresh values"),
    ):
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            logger.warning("%s: %s %s.", class_name, source, what.format(shown))
