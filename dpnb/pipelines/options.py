"""The options of loading and saving a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from dpnb.devices import parse_device, parse_dtype
from dpnb.loading.hub import HubOptions

UNSERVED = {
    "custom_pipeline": "load the components here and draw with a pipeline class of your own",
    "custom_revision": "leave it out",
    "dduf_file": "unpack the file, it is a zip, and give the folder",
    "max_memory": 'place the whole pipeline with device_map="cuda" or .to()',
    "offload_folder": "leave it out",
    "offload_state_dict": "leave it out",
    "quantization_config": "load in half precision with dtype=torch.float16",
    "use_onnx": "use the PyTorch weights",
}


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
        trust_remote_code: accepted, and without effect: no code of a repository is run.
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
    trust_remote_code: bool = False
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
