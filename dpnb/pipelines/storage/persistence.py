"""How pipelines are loaded and made out of one another."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from dpnb.errors import CheckpointError
from dpnb.garbage import pause_garbage_collection
from dpnb.loading.checkpoint_files import explain_settings_errors
from dpnb.loading.components.registry import PIPELINES, library_of
from dpnb.loading.components.transformers_components import (
    load_transformers_component,
)
from dpnb.loading.hub import HubOptions
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.quantization import QuantizationPlan, Recipe
from dpnb.loading.quantizer import probe, quantize
from dpnb.loading.weights.loading_info import LoadingInfo
from dpnb.loading.weights.weight_files import NO_EMBEDDED_FILES, EmbeddedFiles
from dpnb.models.model import Model
from dpnb.pipelines.foreign.adoption import adopt
from dpnb.pipelines.protocols import StoredPipeline
from dpnb.pipelines.schema import Schema
from dpnb.pipelines.storage.options import LoadOptions
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
            logger.info("%s is a %s of %s.", component, classes[component].__name__, origin.name)
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
