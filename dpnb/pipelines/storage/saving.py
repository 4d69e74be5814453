"""How pipelines are saved and uploaded."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from dpnb.atomic import explain_full_disk, write_text
from dpnb.errors import CheckpointError, ComponentError, QuantizationError
from dpnb.loading.components.custom_code import file_of, files_of
from dpnb.loading.components.registry import library_of
from dpnb.loading.components.transformers_components import save_transformers_component
from dpnb.loading.hub import upload_folder
from dpnb.loading.model_card import CARD, make_card
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.saving.atomic_folders import make_workspace, replace_folder
from dpnb.loading.saving.dduf import SUFFIX, Entry, list_in_dduf_order, write_dduf
from dpnb.models.model import Model
from dpnb.nn.compiled import plain_network
from dpnb.nn.quantized import quantization_of
from dpnb.pipelines.protocols import StoredPipeline
from dpnb.pipelines.storage.options import SaveOptions
from dpnb.schedulers.scheduler import Scheduler

logger = logging.getLogger(__name__)


def save_pipeline(pipe: StoredPipeline, folder: Path, options: SaveOptions) -> None:
    """See `DiffusionPipeline.save_pretrained`."""
    for name, part in plain_parts(pipe).items():
        if isinstance(part, Model):
            part.check_saveable()
        elif not can_be_saved(part):
            _leave_out(pipe, name)
    if is_dduf(folder):
        save_dduf(pipe, folder, options)
        return
    if options.dduf_file is not None:
        save_dduf(pipe, folder / options.dduf_file, options)
        return
    with replace_folder(folder) as stage:
        for name, part in plain_parts(pipe).items():
            if part is not None and can_be_saved(part):
                save_component(part, stage / name, options)
                save_code(type(part), stage / name)
        save_code(type(pipe), stage)
        _index_of_saved(pipe).write(stage)
        if not (folder / CARD).exists():
            write_text(stage / CARD, make_model_card(pipe))


def plain_parts(pipe: StoredPipeline) -> dict[str, Any]:
    """The components by name, those that torch compiles as they were written."""
    return {name: plain_network(part) for name, part in pipe.components.items()}


def can_be_saved(part: Any) -> bool:
    """Whether a component is none, or has what writes it into a folder."""
    return part is None or any("save_pretrained" in vars(kind) for kind in type(part).__mro__)


def _leave_out(pipe: StoredPipeline, name: str) -> None:
    kind = type(pipe.components[name]).__name__
    if name not in type(pipe).schema.optional:
        raise ComponentError(
            f"{name} is a {kind}, which has no save_pretrained; give the pipeline one that has it "
            "before saving."
        )
    logger.warning("%s is a %s, which has no save_pretrained; left out.", name, kind)


def _index_of_saved(pipe: StoredPipeline) -> ModelIndex:
    """The index, without the components that are left out."""
    index = index_of(pipe)
    kept = {n: e if can_be_saved(pipe.components[n]) else None for n, e in index.components.items()}
    return replace(index, components=kept)


def is_dduf(path: Path) -> bool:
    """Whether `path` is the name of a DDUF file, rather than of a folder."""
    return path.suffix == SUFFIX and not path.is_dir()


def save_dduf(pipe: StoredPipeline, path: Path, options: SaveOptions) -> None:
    """Write one DDUF file; no more than one component at a time waits beside it on the disk.

    Raises:
        ValueError: such a file cannot hold what is asked for.
    """
    own = [name for name, part in plain_parts(pipe).items() if file_of(type(part))]
    path.parent.mkdir(parents=True, exist_ok=True)
    if own or not options.safe_serialization or path.suffix != SUFFIX:
        raise ValueError(
            f"{path} cannot be saved: the name of a DDUF file ends in {SUFFIX}, and it holds "
            f"safetensors and no code{f' (that of {own[0]})' if own else ''}; save into a folder."
        )
    quantized = [name for name, part in plain_parts(pipe).items() if _is_quantized(part)]
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
    replace(_index_of_saved(pipe), class_name=type(pipe).__name__).write(stage)
    yield ModelIndex.file_name, stage / ModelIndex.file_name
    for name, part in plain_parts(pipe).items():
        if part is not None and can_be_saved(part):
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
    for name, part in plain_parts(pipe).items():
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
