"""How pipelines are loaded, saved and made out of one another."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import torch
from torch import nn

from dpnb.atomic import explain_full_disk, write_text
from dpnb.errors import CheckpointError, QuantizationError
from dpnb.garbage import pause_garbage_collection
from dpnb.loading.checkpoint_files import explain_settings_errors
from dpnb.loading.components.custom_code import file_of, files_of
from dpnb.loading.components.registry import PIPELINES, library_of
from dpnb.loading.components.transformers_components import (
    load_transformers_component,
    save_transformers_component,
)
from dpnb.loading.hub import HubOptions, upload_folder
from dpnb.loading.model_card import CARD, make_card
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.quantization import QuantizationPlan, Recipe
from dpnb.loading.quantizer import probe, quantize
from dpnb.loading.saving.atomic_folders import make_workspace, replace_folder
from dpnb.loading.saving.dduf import SUFFIX, Entry, list_in_dduf_order, write_dduf
from dpnb.loading.weights.loading_info import LoadingInfo
from dpnb.loading.weights.weight_files import NO_EMBEDDED_FILES, EmbeddedFiles
from dpnb.models.model import Model
from dpnb.nn.quantized import quantization_of
from dpnb.pipelines.foreign.adoption import adopt
from dpnb.pipelines.protocols import StoredPipeline
from dpnb.pipelines.schema import Schema
from dpnb.pipelines.storage.options import LoadOptions, SaveOptions
from dpnb.pipelines.storage.origin import (
    Origin,
    base_class,
    fetch_origin,
    find_custom_code,
    find_dduf,
    load_custom_class,
    open_origin,
    read_connected,
    resolve_class,
    resolve_component_class,
    resolve_pipeline_class,
)
from dpnb.pipelines.storage.roles import check_roles
from dpnb.pipelines.storage.tokenizers import match_tokenizers
from dpnb.schedulers.scheduler import Scheduler

Seen: TypeAlias = tuple[str, ...]

logger = logging.getLogger(__name__)


def load_pipeline(
    cls: type[StoredPipeline], name: str, arguments: Mapping[str, Any], seen: Seen = ()
) -> Any:
    """See `DiffusionPipeline.from_pretrained`; `seen` are the pipelines that this one completes."""
    options, given = LoadOptions.parse_known(arguments)
    device, plan = options.device, options.quantization
    with open_origin(cls, name, options, given) as origin:
        kind = resolve_class(cls, origin, options)
        given |= load_connected_parts(kind, origin, options, given, seen)
        parts, infos = load_parts(kind, origin, options, given, device, plan)
        with explain_settings_errors(origin.folder / ModelIndex.file_name):
            stored = kind.schema.parse_settings(origin.index.settings)
    known = {**kind.schema.settings, **stored, **given}
    pipe = kind(**parts, **{name: known[name] for name in kind.schema.settings})
    pipe._name_or_path = name
    if device is not None:
        pipe.hf_device_map = {"": str(device)}
    if options.placement is not None:
        pipe.strategies.enable(options.placement)
    return (pipe, {c: asdict(i) for c, i in infos.items()}) if options.output_loading_info else pipe


@pause_garbage_collection()
def load_parts(
    kind: type[StoredPipeline],
    origin: Origin,
    options: LoadOptions,
    given: Mapping[str, Any],
    device: torch.device | None,
    plan: QuantizationPlan,
) -> tuple[dict[str, Any], dict[str, LoadingInfo]]:
    """The components of a pipeline of class `kind`, and how the weights of each agreed with it."""
    schema, index = kind.schema, origin.index
    _report_unused(kind.__name__, schema, index, given)
    classes = {
        component: resolve_component_class(component, entry, origin, options)
        for component in schema.components
        if component not in given and (entry := index.components.get(component))
    }
    schema.check(kind.__name__, [*given, *classes])
    check_roles(given, index.components)
    networks = [name for name, part in classes.items() if issubclass(part, nn.Module)]
    recipes = plan.recipes(networks)
    for name, recipe in recipes.items():
        probe(recipe, name, device, options.dtype_of(name))
    parts: dict[str, Any] = {}
    infos: dict[str, LoadingInfo] = {}
    for component in schema.components:
        if component in classes:
            embedded = origin.embedded.get(component, NO_EMBEDDED_FILES)
            parts[component], infos[component] = load_component(
                classes[component],
                origin.folder / component,
                component,
                options,
                device,
                embedded,
                recipes.get(component),
            )
        else:
            parts[component] = adopt(given.get(component))
    read = {n: part for n, part in parts.items() if _is_of_transformers(part)}
    match_tokenizers(read, classes, origin.name)
    return parts, infos


def _is_of_transformers(part: Any) -> bool:
    return library_of(part)[0] in ("transformers", "latent_diffusion")


def load_connected_parts(
    kind: type[StoredPipeline],
    origin: Origin,
    options: LoadOptions,
    given: Mapping[str, Any],
    seen: Seen,
) -> dict[str, Any]:
    """Components that `kind` has of other pipelines, which the model card names.

    Raises:
        CheckpointError: these pipelines name one another.
    """
    parts: dict[str, Any] = {}
    named = read_connected(kind, origin.name, origin.folder, options)
    for prefix, repository in named.items():
        own = [c for c in kind.schema.components if c.startswith(f"{prefix}_") and c not in given]
        if not own:
            continue
        before = (*seen, origin.name)
        if repository in before:
            raise CheckpointError(
                f"{' names '.join((*before, repository))} as its {prefix}, which never ends; "
                "correct a model card, or pass load_connected_pipeline=False."
            )
        passed = {
            name.removeprefix(f"{prefix}_"): part
            for name, part in given.items()
            if name.startswith(f"{prefix}_")
        }
        other = load_pipeline(base_class(), repository, {**options.for_another(), **passed}, before)
        theirs = other.components
        parts |= {c: theirs[n] for c in own if (n := c.removeprefix(f"{prefix}_")) in theirs}
    return parts


def load_component(
    kind: type[Any],
    folder: Path,
    name: str,
    options: LoadOptions,
    device: torch.device | None,
    embedded: EmbeddedFiles = NO_EMBEDDED_FILES,
    recipe: Recipe | None = None,
) -> tuple[Any, LoadingInfo]:
    """One component out of its folder, or out of the one above where it has none."""
    is_configured = issubclass(kind, (Model, Scheduler))
    if is_configured and not folder.is_dir() and (folder.parent / kind.config_name).is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder.parent} has no folder {name}, which its index lists; download or save it "
            f"again, or pass {name}=..."
        )
    if issubclass(kind, Model):
        dtype = options.dtype_of(name)
        model, info = kind.load(
            folder,
            dtype="auto" if dtype is None else dtype,
            device=device if recipe is None else None,
            variant=options.variant,
            use_safetensors=options.use_safetensors,
            low_cpu_mem_usage=options.low_cpu_mem_usage,
            ignore_mismatched_sizes=options.ignore_mismatched_sizes,
            embedded=embedded,
        )
        if recipe is not None:
            quantize(model, recipe, name, device)
        return model, info
    if issubclass(kind, Scheduler):
        return kind.from_pretrained(folder), LoadingInfo()
    return load_transformers_component(
        kind,
        folder,
        dtype=options.dtype_of(name),
        device=device,
        variant=options.variant,
        use_safetensors=options.use_safetensors,
        embedded=embedded,
        recipe=recipe,
    )


def download_pipeline(
    cls: type[StoredPipeline], name: str, arguments: Mapping[str, Any], seen: Seen = ()
) -> str:
    """See `DiffusionPipeline.download`; `seen` are the pipelines that are downloaded already."""
    options, given = LoadOptions.parse_known(arguments)
    path = find_dduf(name, options)
    if path is not None:
        return str(path)
    origin = fetch_origin(cls, name, options, given, is_built=False)
    if options.custom_pipeline is not None and options.trust_remote_code:
        find_custom_code(options, origin)
    class_name = origin.index.class_name
    is_ours = isinstance(class_name, str) and class_name in PIPELINES
    kind = resolve_pipeline_class(str(class_name)) if is_ours and not cls.schema.components else cls
    before = (*seen, name)
    for repository in read_connected(kind, name, origin.folder, options).values():
        if repository not in before:
            download_pipeline(base_class(), repository, options.for_another(), before)
    return str(origin.folder)


def save_pipeline(pipe: StoredPipeline, folder: Path, options: SaveOptions) -> None:
    """See `DiffusionPipeline.save_pretrained`."""
    for part in pipe.components.values():
        if isinstance(part, Model):
            part.check_saveable()
    if is_dduf(folder):
        save_dduf(pipe, folder, options)
        return
    if options.dduf_file is not None:
        save_dduf(pipe, folder / options.dduf_file, options)
        return
    with replace_folder(folder) as stage:
        for name, part in pipe.components.items():
            if part is not None:
                save_component(part, stage / name, options)
                save_code(type(part), stage / name)
        save_code(type(pipe), stage)
        index_of(pipe).write(stage)
        if not (folder / CARD).exists():
            write_text(stage / CARD, make_model_card(pipe))


def is_dduf(path: Path) -> bool:
    """Whether `path` is the name of a DDUF file, rather than of a folder."""
    return path.suffix == SUFFIX and not path.is_dir()


def save_dduf(pipe: StoredPipeline, path: Path, options: SaveOptions) -> None:
    """Write one DDUF file; no more than one component at a time waits beside it on the disk.

    Raises:
        ValueError: such a file cannot hold what is asked for.
    """
    own = [name for name, part in pipe.components.items() if file_of(type(part))]
    path.parent.mkdir(parents=True, exist_ok=True)
    if own or not options.safe_serialization or path.suffix != SUFFIX:
        raise ValueError(
            f"{path} cannot be saved: the name of a DDUF file ends in {SUFFIX}, and it holds "
            f"safetensors and no code{f' (that of {own[0]})' if own else ''}; save into a folder."
        )
    quantized = [name for name, part in pipe.components.items() if _is_quantized(part)]
    if quantized:
        raise QuantizationError(
            f"{path} cannot be saved: no such file holds quantized weights (those of "
            f"{', '.join(quantized)}); save into a folder."
        )
    whole = replace(options, max_shard_size=sys.maxsize)
    with explain_full_disk(path, CheckpointError), make_workspace(path.resolve()) as directory:
        write_dduf(path, _entries(pipe, directory, whole))


def _entries(pipe: StoredPipeline, stage: Path, options: SaveOptions) -> Iterator[Entry]:
    """The files of `pipe`, each there when it is asked for, and its component's until the next."""
    replace(index_of(pipe), class_name=type(pipe).__name__).write(stage)
    yield ModelIndex.file_name, stage / ModelIndex.file_name
    for name, part in pipe.components.items():
        if part is not None:
            save_component(part, stage / name, options)
            yield from ((f"{name}/{file.name}", file) for file in list_in_dduf_order(stage / name))
            rmtree(stage / name)


def _is_quantized(part: Any) -> bool:
    return isinstance(part, nn.Module) and quantization_of(part) is not None


def save_code(kind: type[Any], folder: Path) -> None:
    """Copy the files that `kind` was loaded from, if they came with a checkpoint, into `folder`."""
    code = file_of(kind)
    if code is None:
        return
    for file in files_of(code):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        copyfile(code.folder / file, folder / file)


def make_model_card(pipe: StoredPipeline) -> str:
    """A model card for `pipe`."""
    components = {}
    for name, part in pipe.components.items():
        count = sum(p.numel() for p in part.parameters()) if isinstance(part, nn.Module) else 0
        size = f", {count:,} weights" if count else ""
        components[name] = "none" if part is None else f"{type(part).__name__}{size}"
    return make_card(type(pipe).__name__, components)


def save_component(part: Any, folder: Path, options: SaveOptions) -> None:
    """One component into its folder."""
    if isinstance(part, Model):
        part.save_pretrained(folder, **options.of_component())
    elif isinstance(part, Scheduler):
        part.save_pretrained(folder)
    else:
        save_transformers_component(part, folder, **options.of_component())


def index_of(pipe: StoredPipeline) -> ModelIndex:
    """What the index of `pipe` holds."""
    code = file_of(type(pipe))
    name = type(pipe).__name__
    return ModelIndex(
        class_name=name if code is None else (code.module, name),
        components={n: None if p is None else library_of(p) for n, p in pipe.components.items()},
        settings=dict(pipe._settings),
    )


def push_pipeline(
    pipe: StoredPipeline, repo_id: str, options: SaveOptions, **arguments: Any
) -> str:
    """See `DiffusionPipeline.push_to_hub`."""
    with TemporaryDirectory() as folder:
        save_pipeline(pipe, Path(folder) / "pipeline", options)
        return push_folder(pipe, Path(folder) / "pipeline", repo_id=repo_id, **arguments)


def push_folder(
    pipe: StoredPipeline, folder: Path, *, repo_id: str | None = None, **arguments: Any
) -> str:
    """Upload a saved folder, into a repository of its own name unless `repo_id` is given.

    A model card that was made up here does not replace the repository's.
    """
    card, made_up = folder / CARD, make_model_card(pipe).encode()
    if not card.exists():
        write_text(card, make_model_card(pipe))
    kept = (CARD,) if card.read_bytes() == made_up else ()
    name = repo_id or folder.resolve().name
    return upload_folder(folder, name, unless_there=kept, **arguments)


def build_from_pipe(cls: type[Any], pipeline: Any, arguments: dict[str, Any]) -> Any:
    """See `DiffusionPipeline.from_pipe`."""
    dtype = arguments.pop("dtype", None) or arguments.pop("torch_dtype", None)
    if arguments.get("custom_pipeline") is not None:
        own = {f.name for kind in (LoadOptions, HubOptions) for f in fields(kind)}
        asked = {name: arguments.pop(name) for name in own & arguments.keys()}
        cls = load_custom_class(LoadOptions.parse_known(asked)[0])
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


def _report_unused(
    class_name: str, schema: Schema, index: ModelIndex, given: Mapping[str, Any]
) -> None:
    known = {*schema.components, *schema.settings}
    unused = sorted({*index.components, *index.settings, *given} - known)
    if unused:
        logger.warning("%s has no use for %s; ignored.", class_name, ", ".join(unused))
