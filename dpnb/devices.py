"""Parse, choose and describe devices and dtypes."""

from typing import TypeAlias

import torch

Device: TypeAlias = torch.device | str | int

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


def accelerator() -> torch.device | None:
    """The kind of accelerator that this machine has, without a number; `None` for none."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def best_device() -> torch.device:
    """The accelerator, where there is one, else the CPU."""
    return accelerator() or torch.device("cpu")


def numbered(device: torch.device) -> torch.device:
    """`device` with its number: of several of its kind, this thread's present one.

    Asked once and kept, so that no other thread takes another device for the same.
    """
    present = accelerator()
    if present is None or present.type != device.type:
        return device
    index = torch.accelerator.current_device_index() if device.index is None else device.index
    return torch.device(device.type, index)


def parse_device(device: Device) -> torch.device:
    """`device` as a `torch.device`.

    Raises:
        ValueError: torch does not know such a device.
    """
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f'{device!r} is not a device; use for example "cpu", "cuda" or "cuda:1".'
        ) from error


def parse_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """`dtype` as a `torch.dtype`; strings are torch's names or `"fp16"`, `"bf16"`, `"fp32"`.

    Raises:
        TypeError: it is neither a dtype nor one of these names.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if isinstance(dtype, str) and dtype.removeprefix("torch.") in DTYPES:
        return DTYPES[dtype.removeprefix("torch.")]
    raise TypeError(f"{dtype!r} is not a dtype; use a torch.dtype or one of {', '.join(DTYPES)}.")
