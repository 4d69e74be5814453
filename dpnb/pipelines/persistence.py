"""How pipelines are loaded, saved and made out of one another."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from dpnb.errors import CheckpointError, ComponentError, ForeignCodeError
from dpnb.loading.hub import fetch, local_folder
from dpnb.loading.hub import push as push_folder
from dpnb.loading.index import Index
from dpnb.loading.info import LoadingInfo
from dpnb.loading.parts import load_part, save_part
from dpnb.loading.registry import PIPELINES, library_of, resolve
from dpnb.loading.selection import select
from dpnb.loading.staging import staged
from dpnb.models.model import Model
from dpnb.pipelines.adoption import adopt
from dpnb.pipelines.options import LoadOptions, SaveOptions
from dpnb.pipelines.schema import Schema
from dpnb.schedulers.scheduler import Scheduler

if TYPE_CHECKING:
    from dpnb.pipelines.pipeline import DiffusionPipeline

logger = logging.getLogger(__name__)


def load(cls: type[DiffusionPipeline], name: str, arguments: dict[str, Any]) -> Any:
    """See `DiffusionPipeline.from_pretrained`."""
    options, given = LoadOptions.split(arguments)
    device = options.device
    folder, index = _fetch(name, options, given)
    kind = cls if cls.schema.components else _named_class(index)
    schema = kind.schema
    _report_unused(kind.__name__, schema, index, given)
    found = {c: index.components[c] for c in schema.components if index.components.get(c)}
    classes = {c: resolve(*entry) for c, entry in found.items() if c not in given and entry}
    schema.check(kind.__name__, [*given, *classes])
    parts: dict[str, Any] = {}
    infos: dict[str, LoadingInfo] = {}
    for component in schema.components:
        if component in given:
            parts[component] = adopt(given[component])
        elif component in classes:
            part = load_component(
                classes[component], folder / component, component, options, device
            )
            parts[component], infos[component] = part
        else:
            parts[component] = None
    settings = {k: given.get(k, index.settings.get(k, v)) for k, v in schema.settings.items()}
    pipe = kind(**parts, **settings)
    pipe._name_or_path = name
    if device is not None:
        pipe.hf_device_map = {"": str(device)}
    return (pipe, {c: asdict(i) for c, i in infos.items()}) if options.output_loading_info else pipe


def load_component(
    kind: type, folder: Path, name: str, options: LoadOptions, device: torch.device | None
) -> tuple[Any, LoadingInfo]:
    """One component out of its folder."""
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder.parent} has no folder {name}, which its index lists; download or save it "
            f"again, or pass {name}=..."
        )
    if issubclass(kind, Model):
        dtype = options.dtype_of(name)
        return kind.load(
            folder,
            dtype="auto" if dtype is None else dtype,
            device=device,
            variant=options.variant,
            use_safetensors=options.use_safetensors,
            low_cpu_mem_usage=options.low_cpu_mem_usage,
            ignore_mismatched_sizes=options.ignore_mismatched_sizes,
        )
    if issubclass(kind, Scheduler):
        return kind.from_pretrained(folder), LoadingInfo()
    return load_part(
        kind,
        folder,
        dtype=options.dtype_of(name),
        device=device,
        variant=options.variant,
        use_safetensors=options.use_safetensors,
    )


def download(cls: type[DiffusionPipeline], name: str, arguments: dict[str, Any]) -> str:
    """See `DiffusionPipeline.download`."""
    options, given = LoadOptions.split(arguments)
    return str(_fetch(name, options, given)[0])


def save(pipe: DiffusionPipeline, folder: Path, options: SaveOptions) -> None:
    """See `DiffusionPipeline.save_pretrained`."""
    with staged(folder) as stage:
        for name, part in pipe.components.items():
            if part is not None:
                save_component(part, stage / name, options)
        index_of(pipe).write(stage)


def save_component(part: Any, folder: Path, options: SaveOptions) -> None:
    """One component into its folder."""
    if isinstance(part, Model):
        part.save_pretrained(folder, **asdict(options))
    elif isinstance(part, Scheduler):
        part.save_pretrained(folder)
    else:
        save_part(part, folder, **asdict(options))


def index_of(pipe: DiffusionPipeline) -> Index:
    """What the index of `pipe` holds."""
    return Index(
        class_name=type(pipe).__name__,
        components={n: None if p is None else library_of(p) for n, p in pipe.components.items()},
        settings=dict(pipe._settings),
    )


def push(pipe: DiffusionPipeline, repo_id: str, options: SaveOptions, **arguments: Any) -> str:
    """See `DiffusionPipeline.push_to_hub`."""
    with TemporaryDirectory() as folder:
        save(pipe, Path(folder) / "pipeline", options)
        return upload(Path(folder) / "pipeline", repo_id=repo_id, **arguments)


def upload(folder: Path, *, repo_id: str | None = None, **arguments: Any) -> str:
    """Upload a saved folder, into a repository of its own name unless `repo_id` is given."""
    return push_folder(folder, repo_id or folder.resolve().name, **arguments)


def from_pipe(cls: type[Any], pipeline: Any, arguments: dict[str, Any]) -> Any:
    """See `DiffusionPipeline.from_pipe`."""
    dtype = arguments.pop("dtype", None) or arguments.pop("torch_dtype", None)
    schema = cls.schema
    known = {**pipeline.components, **arguments}
    unknown = sorted(arguments.keys() - {*schema.components, *schema.settings})
    if unknown:
        raise TypeError(
            f"{cls.__name__} has no {', '.join(unknown)}; it takes "
            f"{', '.join((*schema.components, *schema.settings))}."
        )
    schema.check(cls.__name__, known)
    parts = {c: adopt(known.get(c)) for c in schema.components}
    former = {**pipeline.config, **vars(pipeline).get("_carried", {})}
    settings = {k: arguments.get(k, former.get(k, v)) for k, v in schema.settings.items()}
    pipe = cls(**parts, **settings)
    pipe._name_or_path = pipeline.name_or_path
    pipe._carried = {k: v for k, v in former.items() if k not in (*known, *settings)}
    return pipe if dtype is None else pipe.to(dtype)


def _fetch(name: str, options: LoadOptions, given: dict[str, Any]) -> tuple[Path, Index]:
    """The folder that holds the pipeline `name`, and its index."""
    folder = fetch(name, lambda files: [f for f in files if f == Index.file_name], options.hub)
    index = Index.read(folder)

    def choose(files: Any) -> list[str]:
        return select(
            files,
            index,
            variant=options.variant,
            use_safetensors=options.use_safetensors,
            passed=given.keys(),
        )

    if local_folder(name) is not None:
        choose([p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()])
        return folder, index
    return fetch(name, choose, options.hub), index


def _named_class(index: Index) -> type[DiffusionPipeline]:
    """The pipeline class that the index names."""
    if not isinstance(index.class_name, str):
        raise ForeignCodeError(
            f"the index names {index.class_name[1]} of its own file {index.class_name[0]}.py; no "
            "code of a repository is run. Load the components and draw with a class of yours."
        )
    kind = resolve("diffusers", index.class_name)
    if index.class_name not in PIPELINES:
        raise ComponentError(
            f"the index names {index.class_name}, which is no pipeline; load it with "
            f"{index.class_name}.from_pretrained."
        )
    return kind


def _report_unused(class_name: str, schema: Schema, index: Index, given: dict[str, Any]) -> None:
    known = {*schema.components, *schema.settings}
    unused = sorted({*index.components, *index.settings, *given} - known)
    if unused:
        logger.warning("%s has no use for %s; ignored.", class_name, ", ".join(unused))
