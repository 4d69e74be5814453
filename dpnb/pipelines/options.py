"""The options of loading and saving a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from dpnb.devices import parse_device, parse_dtype
from dpnb.loading.hub import HubOptions

UNSERVED = {
    "max_memory": 'place the whole pipeline with device_map="cuda" or .to()',
    "offload_folder": "leave it out",
    "offload_state_dict": "leave it out",
    "quantization_config": "load in half precision with dtype=torch.float16",
}

_OF_ONE = (
    "custom_pipeline",
    "custom_revision",
    "dduf_file",
    "hub",
    "load_connected_pipeline",
    "output_loading_info",
    "revision",
    "trust_remote_code",
)
"""Options that concern one pipeline and not those that complete it."""


@dataclass(frozen=True)
class LoadOptions:
    """How `from_pretrained` loads.

    Args:
        dtype: of floating-point weights: one, or by component with `"default"`; `"auto"` keeps the
            file's. float32 by default.
        torch_dtype: the same, by its former name.
        device_map: a device that everything is loaded onto, for example `"cuda"`.
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
        hub: where files are fetched from.
    """

    dtype: Any = None
    torch_dtype: Any = None
    device_map: Any = None
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
    hub: HubOptions = field(default_factory=HubOptions)

    @classmethod
    def split(cls, arguments: Mapping[str, Any]) -> tuple[LoadOptions, dict[str, Any]]:
        """These options out of a call's arguments, and the rest: components and settings.

        Raises:
            ValueError: an option asks for what is not served here, or contradicts another.
        """
        for name, remedy in UNSERVED.items():
            if arguments.get(name):
                raise ValueError(f"{name}={arguments[name]!r} is not supported; {remedy}.")
        own = {f.name for f in fields(cls)} - {"hub"}
        hub = {f.name for f in fields(HubOptions)}
        options = cls(
            **{k: v for k, v in arguments.items() if k in own},
            hub=HubOptions(**{k: v for k, v in arguments.items() if k in hub}),
        )
        if options.dtype is not None and options.torch_dtype is not None:
            raise ValueError("dtype and torch_dtype mean the same; give one of them.")
        rest = {k: v for k, v in arguments.items() if k not in own | hub | UNSERVED.keys()}
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
        """Where the weights go.

        Raises:
            ValueError: `device_map` is not a device.
        """
        if self.device_map is None:
            return None
        if not isinstance(self.device_map, (str, int, torch.device)) or self.device_map in (
            "auto",
            "balanced",
        ):
            raise ValueError(
                f"device_map={self.device_map!r} is not supported; give one device, such as "
                '"cuda" or "cpu".'
            )
        return parse_device(self.device_map)


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
