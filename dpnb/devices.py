"""Parse, choose and describe devices and dtypes."""

import os
from typing import TypeAlias

import torch
from torch import Tensor

from dpnb.errors import DeviceError

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
    """The kind of accelerator that this machine has; `None` where there is none."""
    # Without that question, torch answers with the kind that it was built for.
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def is_present(device: torch.device) -> bool:
    """Whether this machine has that device."""
    if device.type == "cpu":
        return True
    kind = accelerator()
    number = device.index or 0
    return (
        kind is not None and kind.type == device.type and number < torch.accelerator.device_count()
    )


def best_device() -> torch.device:
    """The accelerator, where there is one, else the CPU."""
    return accelerator() or torch.device("cpu")


def with_index(device: torch.device) -> torch.device:
    """`device` with its index: of several of its kind, this thread's present one.

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
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f'{device!r} is not a device; use for example "cpu", "cuda" or "cuda:1".'
        ) from error


def available_device(device: Device) -> torch.device:
    """`device` as a `torch.device` that tensors can be on here.

    Raises:
        ValueError: torch does not know such a device.
        DeviceError: this machine does not have it.
    """
    place = parse_device(device)
    count = _count(place.type)
    if count == 0:
        raise DeviceError(
            f'There is no {place.type} device here that this torch can use; use "cpu", or install '
            f"the torch and the driver that belong to it.{_describe_hidden(place.type)}"
        )
    if count is not None and (place.index or 0) >= count:
        raise DeviceError(
            f"{place} is not here: the {place.type} devices are numbered from 0 to {count - 1}."
            f"{_describe_hidden(place.type)}"
        )
    return place


def _describe_hidden(kind: str) -> str:
    """What hides cards from this process, as a further sentence."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if kind != "cuda" or visible is None:
        return ""
    return f" CUDA_VISIBLE_DEVICES is {visible!r}, and hides all others."


def _count(kind: str) -> int | None:
    """How many devices of a kind there are; `None` where they are not counted."""
    if kind in ("cpu", "meta"):
        return None
    try:
        return int(torch.get_device_module(kind).device_count())
    except RuntimeError:
        return 0


def upload(tensor: Tensor, device: Device | None) -> Tensor:
    """A tensor of the host on `device`; nothing waits for it on its way to a GPU.

    Args:
        tensor: whoever changes it afterwards does not change what comes.
        device: where it is wanted; where it is by default.
    """
    place = tensor.device if device is None else torch.device(device)
    travels = place.type == "cuda" and tensor.device.type == "cpu" and torch.cuda.is_available()
    if travels and type(tensor) is Tensor:  # torch's fake tensors cannot be pinned
        return tensor.pin_memory().to(place, non_blocking=True)
    return tensor.to(place)


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
