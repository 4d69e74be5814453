"""The interface of all meters, and the choice of one."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import torch

from dpnb.devices import Device, parse_device
from dpnb.metering.cuda import CudaMeter
from dpnb.metering.host import HostMeter
from dpnb.metering.reading import Reading
from dpnb.metering.tensors import TensorMeter

MeterName: TypeAlias = Literal["cuda", "host", "tensors"]


@runtime_checkable
class Meter(Protocol):
    """Counts memory. It is entered around what it is to count, in the same thread.

    Reading and resetting are allowed at any time and from any thread.
    """

    @property
    def name(self) -> str:
        """One word."""
        ...

    @property
    def label(self) -> str:
        """What is counted, in words."""
        ...

    def read(self) -> Reading:
        """Memory now."""
        ...

    def reset_peak(self) -> None:
        """Let the peak of later readings count from now on."""
        ...

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: Any) -> Any: ...


def meter_for(device: Device, meter: Meter | MeterName | None = None) -> Meter:
    """A meter for what is computed on `device`.

    Args:
        device: where that is.
        meter: which one: `"cuda"` reads torch's allocator, `"host"` the resident set of the
            process, `"tensors"` counts tensors one by one; a meter is taken as it is. By default
            `"cuda"` on a CUDA device and else `"host"`.

    Raises:
        ValueError: there is no meter of that name.
        TypeError: `meter` is neither a name nor a meter.
        MeterError: the meter cannot read anything here.
    """
    place = parse_device(device)
    if meter is None:
        meter = "cuda" if place.type == "cuda" else "host"
    if isinstance(meter, str):
        return _make_meter(meter, place)
    if not isinstance(meter, Meter):
        raise TypeError(
            f'{meter!r} is not a meter; use "cuda", "host", "tensors" or an object like '
            "TensorMeter()."
        )
    return meter


def _make_meter(name: str, place: torch.device) -> Meter:
    match name:
        case "cuda":
            return CudaMeter(place)
        case "host":
            return HostMeter()
        case "tensors":
            return TensorMeter()
    raise ValueError(f'{name!r} is no meter; use "cuda", "host" or "tensors".')
