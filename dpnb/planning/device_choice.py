"""The device that is planned for, and how much of it there is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from dpnb.devices import best_device, parse_device, with_index
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.loaded_pipelines import device_of
from dpnb.strategies.offload.backends import parse_simulated_rate
from dpnb.units import parse_bytes


def profile_for(device: str | torch.device | DeviceProfile | None, model: Any) -> DeviceProfile:
    """The profile that is meant; one at hand is measured when it is first asked for.

    Raises:
        ValueError: there is no such device, and no card of that name.
    """
    if isinstance(device, DeviceProfile):
        return device
    if device is None:
        is_loaded = not isinstance(model, (str, Path))
        return _measure_device(str(device_of(model) if is_loaded else best_device()))
    name = str(device)
    rate = parse_simulated_rate(name)
    if rate is not None:
        return replace(_measure_device("cpu"), link=float(rate), torch_device=name)
    try:
        place = parse_device(name)
    except ValueError:
        return DeviceProfile.from_name(name)
    return _measure_device(str(place))


def resolve_budget(limit: int | str | None, profile: DeviceProfile) -> int:
    """Bytes of tensors that a device may hold: as given, and of a GPU never what it reserves.

    Raises:
        ValueError: `limit` is no size.
    """
    most = profile.memory - profile.reserved
    if limit is None:
        return most
    return min(parse_bytes(limit), most) if profile.reserved else parse_bytes(limit)


def _measure_device(device: str) -> DeviceProfile:
    measured = _measure_once(with_index(parse_device(device)))
    return measured if measured.torch_device is None else replace(measured, torch_device=device)


@cache
def _measure_once(device: torch.device) -> DeviceProfile:
    return DeviceProfile.measure(device)
