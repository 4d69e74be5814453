"""The options of loading and saving a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from dpnb.devices import available_device, parse_dtype
from dpnb.loading.hub import HubOptions
from dpnb.loading.quantization import QuantizationPlan
from dpnb.strategies.device_map import DeviceMap

_OF_ONE = (
    "custom_pipeline",
    "custom_revision",
    "dduf_file",
    "hub",
    "load_connected_pipeline",
    "output_loading_info",
    "quantization_config",
    "revision",
    "trust_remote_code",
)
"""Options that concern one pipeline and not those that complete it."""


@dataclass(frozen=True)
class LoadOptions:
    """How `from_pretrained` loads.

    Args:
        dtype: of floating-point weights: one, or by component with `"default"`; `"auto"` takes for
            each component that which most of its weights have in the file. float32 by default.
        torch_dtype: the same, by its former name.
        device_map: a device that everything is loaded onto, for example `"cuda"`; or
            `"balanced"`, or component → device: see `DeviceMap`.
        max_memory: device → the most that a device map puts there, for example `{0: "8GiB"}`.
        offload_folder: where a device map writes the weights that it leaves on the disk.
        offload_state_dict: has no effect: weights are mapped from their files, not read into
            memory.
        variant: of the weight files, for example `"fp16"`.
        use_safetensors: `True` refuses `.bin` files, `False` takes only them.
        low_cpu_mem_usage: build without allocating first; `False` fills the network before.
        ignore_mismatched_sizes: keep fresh values where shapes differ, instead of an error.
        output_loading_info: return `(pipeline, info)`.
        custom_pipeline: a pipeline class that is not part of the package: a `.py` file, a folder
            or a hub repository with `pipeline.py`, or the name of a community pipeline. It may
            import what it needs from diffusers, and gets our classes.
        custom_revision: of that repository; of a community pipeline, the release of diffusers.
        trust_remote_code: run such code, and code that a checkpoint brings along. Without it none
            is run.
        dduf_file: the name of a DDUF file in the folder or repository, which holds everything.
        use_onnx: download ONNX files too; by default if the pipeline runs them. None of ours does.
        load_connected_pipeline: load the pipelines that the model card names, too; by default if
            the class asks for it.
        quantization_config: how weights are stored in fewer bits, by component or for all big
            networks, for example `{"unet": "int8"}`: see `QuantizationPlan.of`.
        hub: where files are fetched from.
    """

    dtype: Any = None
    torch_dtype: Any = None
    device_map: Any = None
    max_memory: Mapping[int | str, int | str] | None = None
    offload_folder: str | None = None
    offload_state_dict: bool | None = None
    variant: str | None = None
    use_safetensors: bool | None = None
    low_cpu_mem_usage: bool = True
    ignore_mismatched_sizes: bool = False
    output_loading_info: bool = False
    custom_pipeline: str | Path | None = None
    custom_revision: str | None = None
    trust_remote_code: bool = False
    dduf_file: str | None = None
    use_onnx: bool | None = None
    load_connected_pipeline: bool | None = None
    quantization_config: Any = None
    hub: HubOptions = field(default_factory=HubOptions)

    @classmethod
    def parse_known(cls, arguments: Mapping[str, Any]) -> tuple[LoadOptions, dict[str, Any]]:
        """These options out of a call's arguments, and the rest: components and settings.

        Raises:
            ValueError: an option asks for what is not served here, or contradicts another.
        """
        own = {f.name for f in fields(cls)} - {"hub"}
        hub = {f.name for f in fields(HubOptions)}
        options = cls(
            **{k: v for k, v in arguments.items() if k in own},
            hub=HubOptions(**{k: v for k, v in arguments.items() if k in hub}),
        )
        if options.dtype is not None and options.torch_dtype is not None:
            raise ValueError("dtype and torch_dtype mean the same; give one of them.")
        if options.placement is None and (options.max_memory or options.offload_folder):
            raise ValueError(
                'max_memory and offload_folder need a device map; add device_map="balanced".'
            )
        rest = {k: v for k, v in arguments.items() if k not in own | hub}
        return options, rest

    def for_another(self) -> dict[str, Any]:
        """The arguments that load a pipeline which completes this one alike."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _OF_ONE}
        hub = {f.name: getattr(self.hub, f.name) for f in fields(self.hub)}
        return {**own, **{name: value for name, value in hub.items() if name not in _OF_ONE}}

    def dtype_of(self, component: str) -> torch.dtype | None:
        """What `component`'s weights are cast to; `None` keeps the file's.

        Raises:
            TypeError: that is no dtype.
        """
        asked = self.dtype if self.dtype is not None else self.torch_dtype
        if isinstance(asked, Mapping):
            asked = asked.get(component, asked.get("default"))
        if asked == "auto":
            return None
        return torch.float32 if asked is None else parse_dtype(asked)

    @property
    def device(self) -> torch.device | None:
        """Where the weights are loaded onto; `None` for the CPU, or where a device map divides.

        Raises:
            ValueError: `device_map` is not a device.
            DeviceError: this machine does not have it.
        """
        if self.device_map is None or self.placement is not None:
            return None
        return available_device(self.device_map)

    @property
    def quantization(self) -> QuantizationPlan:
        """Which components are quantized; see `QuantizationPlan.of` for what it raises."""
        return QuantizationPlan.of(self.quantization_config)

    @property
    def placement(self) -> DeviceMap | None:
        """What spreads the components, where that is asked for.

        Raises:
            ValueError: a device or a size in it is none.
        """
        divides = self.device_map in ("auto", "balanced", "disk")
        if divides or isinstance(self.device_map, Mapping):
            folder = None if self.offload_folder is None else str(self.offload_folder)
            return DeviceMap.of(self.device_map, self.max_memory, folder)
        return None


@dataclass(frozen=True)
class SaveOptions:
    """How a pipeline is written; see `DiffusionPipeline.save_pretrained`."""

    safe_serialization: bool = True
    variant: str | None = None
    max_shard_size: int | str | None = None
    dduf_file: str | None = None

    def of_component(self) -> dict[str, Any]:
        """Those that a component's own `save_pretrained` takes."""
        return {
            "safe_serialization": self.safe_serialization,
            "variant": self.variant,
            "max_shard_size": self.max_shard_size,
        }
