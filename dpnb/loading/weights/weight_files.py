"""The weights of one model: which files of a folder they are, read, and written.

A folder holds them as safetensors or `.bin`, whole or in shards, with or without a variant.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from dpnb.errors import CheckpointError
from dpnb.loading.checkpoint_files import read_checkpoint_json, write_json
from dpnb.loading.checkpoint_paths import check_inside
from dpnb.loading.filenames import Extension, WeightName, index_name, is_bare, weight_name
from dpnb.loading.weights.embedded_files import (
    EmbeddedFile,
    read_embedded_tensor_names,
    read_embedded_tensors,
)
from dpnb.loading.weights.tensor_files import (
    read_tensor_names,
    read_tensors,
    write_bin,
    write_safetensors,
)
from dpnb.units import parse_bytes

logger = logging.getLogger(__name__)

MAX_SHARD_SIZE = "10GB"

WeightFile: TypeAlias = Path | EmbeddedFile
EmbeddedFiles: TypeAlias = Mapping[str, EmbeddedFile]
"""Weight files that lie inside a larger file, by name."""

NO_EMBEDDED_FILES: EmbeddedFiles = MappingProxyType({})


def find_weights(
    folder: Path,
    stem: str,
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    embedded: EmbeddedFiles = NO_EMBEDDED_FILES,
) -> tuple[WeightFile, ...]:
    """The weight files of the model in `folder`, in the order of their shards.

    A variant that the folder lacks gives way to the plain files; safetensors come before `.bin`.

    Args:
        folder: The component's folder.
        stem: `"diffusion_pytorch_model"`, or `"model"` for a model of transformers.
        variant: For example `"fp16"`.
        use_safetensors: `True` for safetensors only, `False` for `.bin` only, `None` for either.
        embedded: Files that count as if they were in `folder`.

    Raises:
        CheckpointError: there are none, a shard is missing, the index of the shards is wrong, or a
            file lies outside of the checkpoint's folder.
    """
    present: dict[str, WeightFile] = {name: folder / name for name in _file_names(folder)}
    present |= embedded
    for wanted in dict.fromkeys((variant, None)):
        for extension in _extensions(use_safetensors):
            files = _find(folder, present, WeightName(stem, wanted, extension))
            if files:
                if wanted != variant:
                    logger.warning(
                        "%s has no variant %r; its plain weights are used.", folder, variant
                    )
                return files
    raise CheckpointError(_nothing_found(folder, sorted(present), stem, use_safetensors))


def read_weights(
    paths: Iterable[WeightFile],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    keep_in_fp32: Collection[str] = (),
) -> dict[str, Tensor]:
    """The tensors of all `paths` by name.

    What needs no cast stays a view of the mapped file; what does is cast tensor by tensor.

    Args:
        paths: Files that `find_weights` found.
        dtype: For floating tensors; `None` keeps the file's.
        device: Where to put them; `None` is the CPU.
        keep_in_fp32: Names of modules whose weights become float32 whatever `dtype` says.

    Raises:
        CheckpointError: a file is damaged, or two files hold the same name.
    """

    def choose_dtype(name: str, stored: torch.dtype) -> torch.dtype:
        if dtype is None or not stored.is_floating_point:
            return stored
        return dtype if kept.isdisjoint(name.split(".")) else torch.float32

    kept = frozenset(keep_in_fp32)
    target = torch.device("cpu") if device is None else device
    state: dict[str, Tensor] = {}
    for path in paths:
        read = (
            read_embedded_tensors(path, choose_dtype, target)
            if isinstance(path, EmbeddedFile)
            else (read_tensors(path, choose_dtype, target))
        )
        for name, tensor in read:
            if name in state:
                raise CheckpointError(
                    f"{path} holds {name!r}, and so does another shard; download or save the "
                    "model again."
                )
            state[name] = tensor
    return state


def write_weights(
    state: Mapping[str, Tensor],
    folder: Path,
    stem: str,
    *,
    variant: str | None = None,
    max_shard_size: int | str | None = None,
    safe_serialization: bool = True,
) -> None:
    """Write `state` into `folder`, replacing what was there of this stem and variant.

    Each file is written beside its former self and then takes its place, so that weights which
    are still mapped from that one stay as they are.

    Args:
        state: Tensors by name, on any device, in any layout.
        folder: An existing folder.
        stem: As for `find_weights`.
        variant: For example `"fp16"`, which becomes part of the files' names.
        max_shard_size: Bytes, or text such as `"2GB"`; more is split into shards. `None`: 10 GB.
        safe_serialization: Safetensors; else `.bin`.

    Raises:
        ValueError: a tensor has no values (meta device), or the size or variant is not one.
    """
    _check_variant(variant)
    extension: Extension = "safetensors" if safe_serialization else "bin"
    limit = parse_bytes(MAX_SHARD_SIZE if max_shard_size is None else max_shard_size)
    shards = _split(state, limit)
    names = [
        weight_name(stem, extension, variant, (number, len(shards)) if len(shards) > 1 else None)
        for number in range(1, len(shards) + 1)
    ]
    for name, shard in zip(names, shards, strict=True):
        _write_file({key: state[key] for key in shard}, folder / name)
    if len(shards) > 1:
        index = index_name(stem, extension, variant)
        write_json(folder / index, _index(state, names, shards))
        names.append(index)
    _remove_others(folder, WeightName(stem, variant, extension), names)


def _find(
    folder: Path, present: Mapping[str, WeightFile], like: WeightName
) -> tuple[WeightFile, ...]:
    found = {name: parsed for name in present if (parsed := _same(name, like)) is not None}
    for name in found:
        if isinstance(file := present[name], Path):
            check_inside(file)
    whole = [name for name, parsed in found.items() if not parsed.is_index and not parsed.number]
    if whole:
        return (present[whole[0]],)
    indexes = [name for name, parsed in found.items() if parsed.is_index]
    if indexes:
        current = index_name(like.stem, like.extension, like.variant)
        return _list_indexed(folder / (current if current in indexes else indexes[0]), present)
    return tuple(present[name] for name in _list_numbered(folder, found))


def _same(name: str, like: WeightName) -> WeightName | None:
    parsed = WeightName.parse(name)
    matches = parsed is not None and (parsed.kind, parsed.extension) == (like.kind, like.extension)
    return parsed if matches else None


def _list_indexed(index: Path, present: Mapping[str, WeightFile]) -> tuple[WeightFile, ...]:
    weight_map = read_checkpoint_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; download or save the model again.")
    by_file: dict[str, set[str]] = {}
    for tensor, name in weight_map.items():
        if not is_bare(name):
            raise CheckpointError(
                f"{index} names {name!r}, and shards must lie beside their index; "
                "do not trust this checkpoint."
            )
        by_file.setdefault(name, set()).add(tensor)
    for name in sorted(by_file):
        path = present.get(name)
        if path is None or (isinstance(path, Path) and not path.is_file()):
            raise CheckpointError(
                f"{index.parent} lacks {name}, which {index.name} names; download or save "
                "the model again."
            )
        _check_shard(index, path, by_file[name])
    return tuple(present[name] for name in sorted(by_file))


def _check_shard(index: Path, path: WeightFile, named: set[str]) -> None:
    if path.suffix != ".safetensors":
        return
    own = (
        read_embedded_tensor_names(path)
        if isinstance(path, EmbeddedFile)
        else read_tensor_names(path)
    )
    differing = sorted(named ^ own)
    if differing:
        raise CheckpointError(
            f"{index} and {path.name} disagree about {len(differing)} tensors, such as "
            f"{differing[0]!r}; download or save the model again."
        )


def _list_numbered(folder: Path, found: Mapping[str, WeightName]) -> list[str]:
    shards = {parsed.number: name for name, parsed in found.items()}
    total = max((parsed.total or 0 for parsed in found.values()), default=0)
    missing = [number for number in range(1, total + 1) if number not in shards]
    if missing:
        raise CheckpointError(
            f"{folder} lacks shard {missing[0]} of {total} of {found[next(iter(found))].stem}; "
            "download or save the model again."
        )
    return [shards[number] for number in range(1, total + 1)]


def _file_names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"{folder} is not a folder; give the one that holds the model."
        ) from None


def _extensions(use_safetensors: bool | None) -> tuple[Extension, ...]:
    if use_safetensors is None:
        return ("safetensors", "bin")
    return ("safetensors",) if use_safetensors else ("bin",)


def _nothing_found(
    folder: Path, names: Sequence[str], stem: str, use_safetensors: bool | None
) -> str:
    parsed = [weight for name in names if (weight := WeightName.parse(name)) is not None]
    present = sorted({weight.variant for weight in parsed if weight.variant})
    if present and not any(weight.variant is None for weight in parsed):
        named = ", ".join(map(repr, present))
        plain = weight_name(stem, _extensions(use_safetensors)[-1], None)
        return (
            f"Error no file named {plain} found in directory {folder}: it holds its weights only "
            f"as variant {named}; pass variant={present[0]!r}."
        )
    if parsed and use_safetensors is not None:
        wanted = weight_name(stem, _extensions(use_safetensors)[0], None)
        return f"{folder} has no {wanted}; leave out use_safetensors={use_safetensors}."
    looked_for = " or ".join(weight_name(stem, ext, None) for ext in _extensions(use_safetensors))
    return f"{folder} has no weights: neither whole nor in shards is there a {looked_for}."


def _check_variant(variant: str | None) -> None:
    if variant is not None and (not is_bare(variant) or "." in variant):
        raise ValueError(
            f"{variant!r} cannot be part of a file name; give a plain word such as 'fp16'."
        )


def _split(state: Mapping[str, Tensor], limit: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in state.items():
        nbytes = tensor.numel() * tensor.element_size()
        if shards[-1] and size + nbytes > limit:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += nbytes
    return shards


def _index(
    state: Mapping[str, Tensor], names: Sequence[str], shards: Sequence[Sequence[str]]
) -> dict[str, object]:
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    return {
        "metadata": {"total_size": total},
        "weight_map": {
            key: name for name, shard in zip(names, shards, strict=True) for key in shard
        },
    }


def _write_file(state: Mapping[str, Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        write_safetensors(state, path)
    else:
        write_bin(state, path)


def _remove_others(folder: Path, like: WeightName, kept: Collection[str]) -> None:
    for name in _file_names(folder):
        parsed = WeightName.parse(name)
        if parsed is not None and parsed.kind == like.kind and name not in kept:
            (folder / name).unlink()
