"""The base of all pipelines: components, where they are, and how they come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from typing_extensions import Self, override

from dpnb.loading.checkpoint_files import format_json, write_json
from dpnb.loading.settings_files import load_settings
from dpnb.nn.quantized import nbytes_of, quantization_of
from dpnb.nn.wrapped_layers import unwrapped
from dpnb.pipelines.adapters import Adapters
from dpnb.pipelines.copying import Copying
from dpnb.pipelines.foreign.declared import DeclaredConfig
from dpnb.pipelines.foreign.unsupported import Unsupported
from dpnb.pipelines.pictures.images import numpy_to_pil
from dpnb.pipelines.placement import Placement
from dpnb.pipelines.schema import Schema, schema_of
from dpnb.pipelines.storage import persistence, saving
from dpnb.pipelines.storage.options import SaveOptions
from dpnb.pipelines.storage.single_file import collect_parts
from dpnb.pipelines.switches import Switches
from dpnb.strategies.stack import StrategyStack
from dpnb.units import format_bytes

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from tqdm import tqdm

    from dpnb.pipelines.listeners import Run
    from dpnb.run_listener import RunListener


class DiffusionPipeline(Placement, Adapters, Switches, Copying, Unsupported):
    """Components, and one loop over them.

    The signature of a subclass's constructor names its components; it hands them to
    `register_modules`. A component is an attribute and may be replaced at any time.

    Attributes:
        _optional_components: those that every run can do without.
        may_be_absent: further ones that may be `None`, and that some runs need.
    """

    config_name: ClassVar[str] = "model_index.json"
    model_cpu_offload_seq: ClassVar[str | None] = None
    _optional_components: ClassVar[list[str]] = []
    may_be_absent: ClassVar[tuple[str, ...]] = ()
    _exclude_from_cpu_offload: ClassVar[list[str]] = []
    _load_connected_pipes: ClassVar[bool] = False
    _is_onnx: ClassVar[bool] = False
    schema: ClassVar[Schema] = Schema((), frozenset(), {})

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        may_lack = (*cls._optional_components, *cls.may_be_absent)
        cls.schema = schema_of(cls.__init__, may_lack)

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._progress: dict[str, Any] = {}
        self._name_or_path: str | None = None
        self._strategies = StrategyStack(self)
        self._listeners: list[RunListener[Run]] = []

    # --- components ---

    def register_modules(self, **modules: Any) -> None:
        """Make `modules` this pipeline's components, each an attribute of its name."""
        with self.strategies.change_components(self):
            vars(self).update(modules)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a network that replaces another gets what is switched on."""
        former = vars(self).get(name)
        network = former if value is None else value
        if name not in self.schema.components or not isinstance(network, nn.Module):
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
    def config(self) -> DeclaredConfig:
        """What the index holds now: class and library of every component, and the settings."""
        index = saving.index_of(self)
        absent = {name: part or (None, None) for name, part in index.components.items()}
        own = {"_class_name": index.class_name, "_name_or_path": self._name_or_path}
        return DeclaredConfig(unknown_settings={**absent, **index.settings, **own})

    @classmethod
    def load_config(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Any:
        """The entries of an index, as plain JSON values.

        Args:
            pretrained_model_name_or_path: a folder, or a hub repository's name.
            options: as of `dpnb.loading.config.Configured.load_config`.
        """
        return load_settings(pretrained_model_name_or_path, cls.config_name, **options)

    def save_config(self, save_directory: str | Path) -> None:
        """Write the index alone into a folder, which is made if need be."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        saving.index_of(self).write(folder)

    def to_json_string(self) -> str:
        """What `save_config` writes."""
        return format_json(saving.index_of(self).values())

    def to_json_file(self, json_file_path: str | Path) -> None:
        """Write the index into a file of any name."""
        write_json(Path(json_file_path), saving.index_of(self).values())

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

    @property
    def class_name(self) -> str:
        """The name of its class."""
        return type(self).__name__

    # --- strategies ---

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

    # --- progress and pictures ---

    def watch(self, listener: RunListener[Run]) -> Callable[[], None]:
        """Call `listener` in every run that begins from now on.

        Returns:
            A function that stops that; in a run that is under way it is called to the end.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def listeners(self) -> Sequence[RunListener[Run]]:
        """The listeners that are called in runs."""
        return self._listeners

    def progress_bar(
        self, iterable: Iterable[Any] | None = None, total: int | None = None
    ) -> tqdm[Any]:
        """A tqdm bar over `iterable`, or of `total` steps, as configured.

        It is a widget where a notebook can show one.

        Raises:
            ValueError: neither is given.
        """
        from tqdm.auto import tqdm

        if iterable is None and total is None:
            raise ValueError("a progress bar needs an iterable or a total; give one of them.")
        return tqdm(iterable, **{"total": total, **self._progress})

    def set_progress_bar_config(self, **kwargs: Any) -> None:
        """Arguments for tqdm, for example `disable=True`; they replace the former ones."""
        self._progress = kwargs

    @staticmethod
    def numpy_to_pil(images: np.ndarray[Any, Any]) -> list[Image]:
        """Pictures of `[height, width, channels]` or `[batch, ...]` numbers in [0, 1]."""
        return numpy_to_pil(images)

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
        return persistence.load_pipeline(cls, str(pretrained_model_name_or_path), kwargs)

    @classmethod
    def choose_class(cls, found: type[Any]) -> type[Any]:
        """The class that `from_pretrained` of this one builds where an index names `found`."""
        return found

    @classmethod
    def from_single_file(cls, pretrained_model_link_or_path: str | Path, **kwargs: Any) -> Self:
        """Load a pipeline whose networks are in one file, in their authors' layout.

        Args:
            pretrained_model_link_or_path: the file's path, or its address on the hub.
            kwargs: `config`, the folder or the repository of a pipeline with the same settings, by
                default that of the family that the file's tensors are of; and those of
                `from_pretrained`.

        Raises:
            CheckpointError: the file does not hold a network that the pipeline needs.
        """
        config, arguments = collect_parts(cls.schema, pretrained_model_link_or_path, kwargs)
        loaded: Self = cls.from_pretrained(config, **arguments)
        return loaded

    @classmethod
    def download(cls, pretrained_model_name: str | Path, **kwargs: Any) -> str:
        """Fetch what `from_pretrained` with these arguments would load.

        Returns:
            The folder that holds it, or the DDUF file.
        """
        return persistence.download_pipeline(cls, str(pretrained_model_name), kwargs)

    @classmethod
    def from_pipe(cls, pipeline: Any, **kwargs: Any) -> Self:
        """Build this class over the components of another pipeline, sharing their weights.

        Args:
            pipeline: any pipeline, of diffusers too: the same tensors then live in our modules.
            kwargs: components and settings that replace those of `pipeline`, `dtype` (or
                `torch_dtype`), without which nothing is cast, and `custom_pipeline`, as for
                `from_pretrained`.
        """
        built: Self = persistence.build_from_pipe(cls, pipeline, kwargs)
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

        What stood there stays loadable until everything is written. Neither what is switched on
        nor layers of peft change what is written.

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
        if push_to_hub and saving.is_dduf(Path(save_directory)):
            raise ValueError("A single file cannot be pushed; give its folder, and dduf_file=.")
        with self._as_saved():
            saving.save_pipeline(self, Path(save_directory), options)
        if push_to_hub:
            saving.push_folder(self, Path(save_directory), **kwargs)

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
        with self._as_saved():
            return saving.push_pipeline(self, repo_id, options, **kwargs)

    @contextmanager
    def _as_saved(self) -> Iterator[None]:
        """Within, nothing is on, and no network has layers of peft."""
        with ExitStack() as stack:
            stack.enter_context(self.strategies.suspended())
            for part in self.components.values():
                if isinstance(part, nn.Module):
                    stack.enter_context(unwrapped(part))
            yield


def _size(module: nn.Module) -> str:
    stored = quantization_of(module)
    return format_bytes(nbytes_of(module)) + (f", {stored}" if stored else "")
