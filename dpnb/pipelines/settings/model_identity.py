"""Which model it is: its name, a hash of its weights where that is cheap, and their size."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from dpnb.loading.hub import find_cached_file, local_folder
from dpnb.nn.quantized import nbytes_of
from dpnb.pipelines.explorable import ExplorablePipeline

DENOISERS = ("unet", "transformer", "prior", "")
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
"""Where the weights are that most of a model is."""

CHEAP = 64 << 20
"""Bytes of a file that is read for its hash."""

DIGITS = 10
"""As many as AUTOMATIC1111 writes."""


def describe_model(name_or_path: str | None) -> tuple[str | None, str | None]:
    """What to call a model in a file that others see, and the first digits of a hash.

    Args:
        name_or_path: what it was loaded from.

    Returns:
        A repository's name, or that of a folder or file without the folders around it; and ten
        digits of the SHA-256 of the denoiser's weights, where the hub's cache knows it or the file
        is small.
    """
    if not name_or_path:
        return None, None
    path = Path(name_or_path).expanduser()
    is_here = path.exists()
    name = path.resolve().name if is_here or path.is_absolute() else name_or_path
    try:
        hashes = (_hash(file) for file in _weight_files(name_or_path, path))
        return name, next((one for one in hashes if one is not None), None)
    except (OSError, ValueError):
        return name, None


def count_weight_bytes(pipe: ExplorablePipeline) -> int:
    """Bytes of all networks of a pipeline, as they are stored now."""
    networks = {id(network): network for _, network in pipe.strategies.networks.items()}
    return sum(nbytes_of(network) for network in networks.values())


def _weight_files(name: str, path: Path) -> Iterator[Path]:
    """The files that may hold the denoiser's weights, and are on this machine."""
    if path.is_file():
        yield path
        return
    if path.is_absolute() and not path.is_dir():
        return
    folder = local_folder(name)
    for place in DENOISERS:
        for file in WEIGHTS:
            inner = f"{place}/{file}" if place else file
            found = folder / inner if folder is not None else find_cached_file(name, inner)
            if found is not None and found.is_file():
                yield found


def _hash(file: Path) -> str | None:
    blob = Path(os.path.realpath(file))
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        return blob.name[:DIGITS]
    known = blob.stat()
    return None if known.st_size > CHEAP else _read_hash(blob, known.st_size, known.st_mtime_ns)


@lru_cache(maxsize=32)
def _read_hash(file: Path, size: int, changed: int) -> str:
    """The hash of a file that has not changed since."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]
