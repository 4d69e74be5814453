"""The base of all pipelines: components, where they are, and how they come and go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from typing_extensions import Self, override

from dpnb.devices import available_device
from dpnb.nn.quantized import check_cast, nbytes_of, quantization_of
from dpnb.pipelines import progress
from dpnb.pipelines.adapters import Adapters
from dpnb.pipelines.copying import Copying
from dpnb.pipelines.pictures import images
from dpnb.pipelines.placement_record import PlacementRecord
from dpnb.pipelines.schema import Schema, schema_of
from dpnb.pipelines.storage import persistence
from dpnb.pipelines.storage.options import SaveOptions
from dpnb.pipelines.switches import Switches
from dpnb.pipelines.unsupported import Unsupported
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.stack import StrategyStack
from dpnb.units import format_bytes

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from tqdm import tqdm

    from dpnb.pipelines.watching import RunListener

logger = logging.getLogger(__name__)


class DiffusionPipeline(Adapters, Switches, Copying, Unsupported):
    """Components, and one loop over them.

    The signature of a subclass's constructor names its components; it hands them to
    `register_modules`. A component is an attribute and may be replaced at any time.
    """

    config_name: ClassVar[str] = "model_index.json"
    model_cpu_offload_seq: ClassVar[str | None] = None
    hf_device_map = PlacementRecord()
    _optional_components: ClassVar[list[str]] = []
    _exclude_from_cpu_offload: ClassVar[list[str]] = []
    _load_connected_pipes: ClassVar[bool] = False
    _is_onnx: ClassVar[bool] = False
    schema: ClassVar[Schema] = Schema((), frozenset(), {})

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.schema = schema_of(cls.__init__, cls._optional_components)

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._progress: dict[str, Any] = {}
        self._name_or_path: str | None = None
        self._strategies = StrategyStack(self)
        self._listeners: list[RunListener] = []

    # --- components ---

    def register_modules(self, **modules: Any) -> None:
        """Make `modules` this pipeline's components, each an attribute of its name."""
        with self.strategies.change_components(self):
            vars(self).update(modules)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a network that replaces another gets what is switched on."""
        former = vars(self).get(name)
        if name not in self.schema.components or not isinstance(value or former, nn.Module):
            super().__setattr__(name, value)
            return
        plan = self.strategies.active
        try:
            self.register_modules(**{name: value})
        except BaseException:
            self.register_modules(**{name: former})
            self.strategies.use(plan)
            raise

    def parts(self) -> dict[str, Any]:
        """The components that have been registered, by name."""
        return {name: vars(self)[name] for name in self.schema.components if name in vars(self)}

    def register_to_config(self, **settings: Any) -> None:
        """Record plain settings, which are saved in the index."""
        self._settings.update(settings)

    @property
    @override
    def components(self) -> dict[str, Any]:
        """Every component by name: what another pipeline over the same weights is built from."""
        return {name: getattr(self, name) for name in self.schema.components}

    @property
    def config(self) -> Mapping[str, Any]:
        """What the index holds now: class and library of every component, and the settings."""
        index = persistence.index_of(self)
        absent = {name: part or (None, None) for name, part in index.components.items()}
        return {**absent, **index.settings, "_class_name": index.class_name}

    @property
    def name_or_path(self) -> str | None:
        """What this pipeline was loaded from."""
        return self._name_or_path

    @override
    def __repr__(self) -> str:
        lines = [
            f"{type(self).__name__} on {self.device}, {str(self.dtype).removeprefix('torch.')}"
        ]
        for name, part in self.components.items():
            size = f" ({_size(part)})" if isinstance(part, nn.Module) else ""
            lines.append(f"  {name}: {'none' if part is None else type(part).__name__}{size}")
        return "\n".join(lines)

    # --- placement ---

    @property
    @override
    def strategies(self) -> StrategyStack:
        """What is switched on, and the one way to change it."""
        return self._strategies

    @property
    def offload_sequence(self) -> tuple[str, ...]:
        """The names of the components that offloading moves, in the order of their use."""
        return tuple((self.model_cpu_offload_seq or "").split("->"))

    @property
    def never_offloaded(self) -> tuple[str, ...]:
        """The names of the components that offloading leaves alone."""
        return tuple(self._exclude_from_cpu_offload)

    def reset_device_map(self) -> None:
        """Switch off a device map, and take everything to the CPU."""
        if self.hf_device_map is not None:
            self.strategies.disable(DeviceMap)
            self.hf_device_map = None
            self.to("cpu")

    @property
    def _execution_device(self) -> torch.device:
        """Where a run computes."""
        return self.strategies.execution_device

    @property
    def device(self) -> torch.device:
        """Where the pipeline is: the accelerator, if any component is there."""
        devices = [next(module.parameters()).device for module in self._modules().values()]
        away = (d for d in devices if d.type not in ("cpu", "meta"))
        return next(away, devices[0] if devices else torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the first network, by name."""
        floats = (
            p.dtype
            for module in self._modules().values()
            for p in module.parameters()
            if p.is_floating_point()
        )
        return next(floats, torch.float32)

    def to(
        self,
        *args: torch.device | torch.dtype | str | int | None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        silence_dtype_warnings: bool = False,
    ) -> Self:
        """Move all networks, cast them, or both.

        What is switched on stays on. While offloading is, it decides where a run computes; this is
        where the networks will be once it is switched off.

        Args:
            args: a device, a dtype, or a device and a dtype.
            device: the same by name.
            dtype: of floating-point weights.
            silence_dtype_warnings: do not warn of float16 on the CPU.

        Returns:
            This pipeline.

        Raises:
            TypeError: an argument is neither a device nor a dtype.
            ValueError: one is given twice, or torch knows no such device.
            DeviceError: this machine does not have it.
            QuantizationError: it would cast quantized weights.
        """
        target, kind = _parse_to(args, device, dtype)
        on_cpu = (target or self.device).type == "cpu"
        if kind == torch.float16 and on_cpu and not silence_dtype_warnings:
            logger.warning(
                "float16 is slow or unsupported on the CPU; bfloat16 runs there at full speed."
            )
        networks = self._modules()
        for name, module in networks.items():
            check_cast(name, module, kind)
        if kind is None and target and self.strategies.rehome(networks.values(), target):
            return self
        with self.strategies.suspended():
            self._move(target, kind)
        return self

    def _move(self, target: torch.device | None, kind: torch.dtype | None) -> None:
        moved: list[tuple[nn.Module, torch.device]] = []
        try:
            for module in self._modules().values():
                moved.append((module, next(module.parameters()).device))
                if quantization_of(module) is None:
                    module.to(device=target, dtype=kind)
                else:
                    module.to(target)
        except BaseException:
            for module, former in moved:
                module.to(former)
            raise

    def _modules(self) -> dict[str, nn.Module]:
        parts = sorted(self.components.items())
        return {
            name: part
            for name, part in parts
            if isinstance(part, nn.Module) and next(part.parameters(), None) is not None
        }

    # --- progress and pictures ---

    def watch(self, listener: RunListener) -> Callable[[], None]:
        """Let `listener` hear of every run that begins from now on.

        Returns:
            What stops that; a run that is under way is heard to its end.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def listeners(self) -> Sequence[RunListener]:
        """Those who hear of runs."""
        return self._listeners

    def progress_bar(
        self, iterable: Iterable[Any] | None = None, total: int | None = None
    ) -> tqdm[Any]:
        """A tqdm bar over `iterable`, or of `total` steps, as configured."""
        return progress.progress_bar(iterable, total, self._progress)

    def set_progress_bar_config(self, **kwargs: Any) -> None:
        """Arguments for tqdm, for example `disable=True`; they replace the former ones."""
        self._progress = kwargs

    @staticmethod
    def numpy_to_pil(images_: np.ndarray[Any, Any]) -> list[Image]:
        """Pictures of `[height, width, channels]` or `[batch, ...]` numbers in [0, 1]."""
        return images.numpy_to_pil(images_)

    # --- loading and saving ---

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load a pipeline from a folder, a DDUF file or the hub.

        Args:
            pretrained_model_name_or_path: a folder, a `.dduf` file, a hub repository's name, or
                `"dpnb/emoji-64"`, the model that is part of this package.
            kwargs: any component or setting by name, and the fields of
                `dpnb.pipelines.storage.options.LoadOptions` and `dpnb.loading.hub.HubOptions`.

        Returns:
            The pipeline; with `output_loading_info=True`, it and the keys that were missing,
            unexpected and mismatched, by component.

        Raises:
            CheckpointError: a file is missing, damaged, or not what the index says.
            HubError: the repository cannot be reached.
            ForeignCodeError: code would have to run that may not.
            ComponentError: a component is missing or of the wrong kind.
        """
        return persistence.load(cls, str(pretrained_model_name_or_path), kwargs)

    @classmethod
    def download(cls, pretrained_model_name: str | Path, **kwargs: Any) -> str:
        """Fetch what `from_pretrained` with these arguments would load.

        Returns:
            The folder that holds it, or the DDUF file.
        """
        return persistence.download(cls, str(pretrained_model_name), kwargs)

    @classmethod
    def from_pipe(cls, pipeline: Any, **kwargs: Any) -> Self:
        """Build this class over the components of another pipeline, sharing their weights.

        Args:
            pipeline: any pipeline, of diffusers too: the same tensors then live in our modules.
            kwargs: components and settings that replace those of `pipeline`, `dtype` (or
                `torch_dtype`), without which nothing is cast, and `custom_pipeline`, as for
                `from_pretrained`.
        """
        built: Self = persistence.from_pipe(cls, pipeline, kwargs)
        return built

    def save_pretrained(
        self,
        save_directory: str | Path,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        dduf_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Write every component and the index into a folder that diffusers reads as well.

        What stood there stays loadable until everything is written.

        Args:
            save_directory: the folder; it is made where there is none. A name that ends in `.dduf`
                is one file that holds everything.
            safe_serialization: `False` writes `.bin` files.
            variant: a word for the names of the weight files, for example `"fp16"`.
            max_shard_size: of one weight file, in bytes or as `"5GB"`.
            push_to_hub: upload the folder afterwards.
            dduf_file: write one DDUF file of this name into the folder, and nothing else.
            kwargs: for the upload: `repo_id`, `private`, `token`, `commit_message`, `create_pr`.
        """
        options = SaveOptions(safe_serialization, variant, max_shard_size, dduf_file)
        if push_to_hub and persistence.is_dduf(Path(save_directory)):
            raise ValueError("A single file cannot be pushed; give its folder, and dduf_file=.")
        with self.strategies.suspended():
            persistence.save(self, Path(save_directory), options)
        if push_to_hub:
            persistence.upload(self, Path(save_directory), **kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        dduf_file: str | None = None,
        **kwargs: Any,
    ) -> str:
        """Save into a temporary folder and upload it.

        Args:
            repo_id: the repository, made where there is none.
            safe_serialization: as for `save_pretrained`.
            variant: likewise.
            max_shard_size: likewise.
            dduf_file: likewise.
            kwargs: `private`, `token`, `commit_message`, `create_pr`.

        Returns:
            The address of the commit.
        """
        options = SaveOptions(safe_serialization, variant, max_shard_size, dduf_file)
        with self.strategies.suspended():
            return persistence.push(self, repo_id, options, **kwargs)


def _parse_to(
    args: tuple[Any, ...], device: Any, dtype: torch.dtype | None
) -> tuple[torch.device | None, torch.dtype | None]:
    if len(args) > 2:
        raise ValueError(f"to() takes a device and a dtype, not {len(args)} arguments.")
    for arg in args:
        if isinstance(arg, torch.dtype):
            if dtype is not None:
                raise ValueError(f"to() was given two dtypes, {dtype} and {arg}; give one.")
            dtype = arg
        elif isinstance(arg, (torch.device, str, int)):
            if device is not None:
                raise ValueError(f"to() was given two devices, {device} and {arg}; give one.")
            device = arg
        elif arg is not None:
            raise TypeError(f"to() takes a device and a dtype, not {arg!r}.")
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype is {dtype!r}; use a torch.dtype such as torch.float16.")
    return (None if device is None else available_device(device)), dtype


def _size(module: nn.Module) -> str:
    stored = quantization_of(module)
    return format_bytes(nbytes_of(module)) + (f", {stored}" if stored else "")
