"""One file of tensors, in and out: safetensors, and torch's `.bin` without running its pickle."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from dpnb.atomic import write_atomically
from dpnb.errors import CheckpointError
from dpnb.loading.checkpoint_files import check_checkpoint_file

_LFS_POINTER = b"version https://git-lfs"
_ZIP = b"PK\x03\x04"
ChooseDtype: TypeAlias = Callable[[str, torch.dtype], torch.dtype]
"""The dtype that the tensor of this name, stored in that dtype, is to have."""

_METADATA = {"format": "pt"}
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}
"""Every dtype that is read and written, and what safetensors calls it."""


def read_tensor_names(path: Path) -> frozenset[str]:
    """The names in a safetensors file, from its header alone.

    Raises:
        CheckpointError: the file is damaged, or a git-lfs pointer.
    """
    from safetensors import SafetensorError, safe_open

    _refuse_pointer(path)
    try:
        with safe_open(path, framework="pt") as file:
            return frozenset(file.keys())
    except SafetensorError as error:
        raise damage_error(path, error) from error


def read_tensors(
    path: Path, choose_dtype: ChooseDtype, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the file `path`, one at a time, on `device` and in the dtype chosen for it.

    One that stays on the CPU in its own dtype is a view of the mapped file (private: writing to it
    changes memory, never the file). Others are read past the mapping, so that no more of the file
    than one of them is ever in memory besides the result.

    Raises:
        CheckpointError: the file is damaged, a git-lfs pointer, or holds more than tensors.
    """
    _refuse_pointer(path)
    if path.suffix == ".safetensors":
        yield from _read_safetensors(path, choose_dtype, device)
    else:
        yield from _read_bin(path, choose_dtype, device)


def write_safetensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Write `state` tensor by tensor, so that no more than one is ever copied.

    Tensors may lie on any device, share storage (each name is written whole) and have any strides.

    Raises:
        ValueError: a tensor is on the meta device, or the format has no name for its dtype.
        SaveError: the disk is full; a former file stays.
    """
    order = sorted(state, key=lambda name: (-state[name].element_size(), name))
    header = _header({name: state[name] for name in order})
    with write_atomically(path) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name in order:
            flat = _on_cpu(name, state[name]).contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)


def write_bin(state: Mapping[str, Tensor], path: Path) -> None:
    """Write `state` with `torch.save`; views are cut out of the larger storages they belong to.

    Raises:
        ValueError: a tensor is on the meta device.
        SaveError: the disk is full; a former file stays.
    """
    content = {name: _alone(_on_cpu(name, tensor)) for name, tensor in state.items()}
    with write_atomically(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def _read_safetensors(
    path: Path, choose_dtype: ChooseDtype, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with (
            safe_open(path, framework="pt") as mapped,
            safe_open(path, framework="pt", backend="pread") as direct,
        ):
            for name in mapped.keys():  # noqa: SIM118
                stored = _stored_dtype(mapped.get_slice(name).get_dtype(), path)
                dtype = choose_dtype(name, stored)
                is_view = dtype == stored and device.type == "cpu"
                tensor = (mapped if is_view else direct).get_tensor(name)
                yield name, tensor.to(device).to(dtype)
    except SafetensorError as error:
        raise damage_error(path, error) from error


def _stored_dtype(name: str, path: Path) -> torch.dtype:
    for dtype, known in DTYPES.items():
        if known == name:
            return dtype
    raise CheckpointError(
        f"{path} holds tensors of dtype {name}, which dpnb does not read; "
        "use another form of this model."
    )


def _read_bin(
    path: Path, choose_dtype: ChooseDtype, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    with path.open("rb") as file:
        is_zip = file.read(len(_ZIP)) == _ZIP
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, and code in weight files is not run; "
            "use the safetensors form of this model."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # there is no error that broken bytes cannot raise as a pickle
        raise damage_error(path, error) from error
    if not isinstance(content, dict) or not all(map(_is_stored, content, content.values())):
        raise CheckpointError(
            f"{path} is not a table of tensors by name; use the safetensors form of this model."
        )
    for name in list(content):
        tensor = content.pop(name)
        yield name, tensor.to(device).to(choose_dtype(name, tensor.dtype))


def _is_stored(name: object, tensor: object) -> bool:
    """Whether a name and all the values of a plain tensor were in the file."""
    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        return False
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        return False
    return tensor.nbytes <= tensor.untyped_storage().nbytes()


def _header(state: Mapping[str, Tensor]) -> bytes:
    entries: dict[str, object] = {"__metadata__": _METADATA}
    offset = 0
    for name, tensor in state.items():
        end = offset + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": _dtype_name(name, tensor),
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _dtype_name(name: str, tensor: Tensor) -> str:
    if tensor.dtype not in DTYPES:
        raise ValueError(
            f"{name!r} is {tensor.dtype}, which safetensors cannot hold; cast it, or save with "
            "safe_serialization=False."
        )
    return DTYPES[tensor.dtype]


def _on_cpu(name: str, tensor: Tensor) -> Tensor:
    if tensor.is_meta:
        raise ValueError(
            f"{name!r} is on the meta device and has no values to save; bring the weights back "
            "first, for example with pipe.remove_all_hooks()."
        )
    return tensor.detach().to("cpu")


def _alone(tensor: Tensor) -> Tensor:
    fills = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if fills and tensor.is_contiguous() else tensor.clone().contiguous()


def _refuse_pointer(path: Path) -> None:
    check_checkpoint_file(path)
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise CheckpointError(
                f"{path} is a git-lfs pointer, not weights; run `git lfs install` and "
                "`git lfs pull` in the clone, or download the model from the hub."
            )


def damage_error(path: object, error: Exception) -> CheckpointError:
    """The error that says that the file `path` is damaged, and why."""
    reason = str(error).strip().splitlines()
    return CheckpointError(
        f"{path} is damaged ({reason[0] if reason else type(error).__name__}); "
        "download or save it again."
    )
