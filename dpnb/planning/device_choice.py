"""The device that is planned for, and how much of it there is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dpnb.devices import best_device, parse_device, with_index
from dpnb.metering.host import HostMeter
from dpnb.metering.reading import MeterError
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.loaded_pipelines import device_of, weight_bytes_of
from dpnb.strategies.offload.backends import parse_simulated_rate
from dpnb.units import format_bytes, parse_bytes


def profile_for(device: str | torch.device | DeviceProfile | None, model: Any) -> DeviceProfile:
    """The profile that is meant; one at hand is measured when it is first asked for.

    Raises:
        ValueError: there is no such device, and no card of that name.
    """
    if isinstance(device, DeviceProfile):
        return device
    if device is None:
        is_loaded = not isinstance(model, (str, Path))
        return _now(_measure_device(str(device_of(model) if is_loaded else best_device())), model)
    name = str(device)
    rate = parse_simulated_rate(name)
    if rate is not None:
        return _now(replace(_measure_device("cpu"), link=float(rate), torch_device=name), model)
    try:
        place = parse_device(name)
    except ValueError:
        return DeviceProfile.from_name(name)
    return _now(_measure_device(str(place)), model)


def resolve_budget(limit: int | str | None, profile: DeviceProfile) -> int:
    """Bytes that a run may take: as given, and of a card no more than others leave.

    On a card that is all that is needed there; on the CPU, tensors beside what the process holds.

    Raises:
        ValueError: `limit` is no size.
    """
    if limit is None:
        return profile.available
    given = parse_bytes(limit)
    return min(given, profile.available) if profile.is_asynchronous and profile.memory else given


def parse_budget(budget: int | str | None, profile: DeviceProfile) -> int | None:
    """Bytes of a budget; `None` for none.

    Raises:
        ValueError: it is no size, or that of a card, in which not even a process finds room.
    """
    if budget is None:
        return None
    limit = parse_bytes(budget)
    if profile.libraries is None:
        return limit
    context, _ = profile.libraries.context
    if limit < context:
        raise ValueError(
            f"{format_bytes(limit)} is less than a CUDA context takes by itself, some "
            f"{format_bytes(context)} on {profile.name}; a budget of a card holds that, too."
        )
    return limit


def check_dtypes(dtypes: Iterable[torch.dtype], profile: DeviceProfile) -> None:
    """Refuse weights in which a card does not compute.

    Raises:
        ValueError: its generation lacks one of these.
    """
    for dtype in dtypes:
        if profile.libraries is not None and profile.libraries.lacks(dtype):
            raise ValueError(
                f"{profile.name} does not compute in {str(dtype)[6:]}: its architecture is older; "
                'plan with dtype="float16", or for another card.'
            )


def _measure_device(device: str) -> DeviceProfile:
    measured = _measure_once(with_index(parse_device(device)))
    return measured if measured.torch_device is None else replace(measured, torch_device=device)


def _measure_once(device: torch.device) -> DeviceProfile:
    if device not in _measured:
        _measured[device] = DeviceProfile.measure(device)
    return _measured[device]


_measured: dict[torch.device, DeviceProfile] = {}


def device_now(profile: DeviceProfile, model: Any) -> DeviceProfile | None:
    """A device that this process has measured, with what is held of it at this moment.

    Args:
        profile: as it was.
        model: the pipeline whose weights are no burden beside it.

    Returns:
        `None` where the profile is of another device.
    """
    name = profile.torch_device or "cpu"
    is_simulated = parse_simulated_rate(name) is not None
    found = _measured.get(with_index(parse_device("cpu" if is_simulated else name)))
    same = found and replace(found, link=profile.link, torch_device=profile.torch_device)
    return _now(profile, model) if same == profile else None


def _now(profile: DeviceProfile, model: Any) -> DeviceProfile:
    """A device at hand with what is held of it at this moment."""
    if profile.is_asynchronous:
        return replace(profile, others=_others_on_card(profile))
    try:
        reading = HostMeter().read()
    except MeterError:
        return profile
    weights = 0 if isinstance(model, (str, Path)) else weight_bytes_of(model)
    return replace(
        profile, others=reading.others or 0, process=reading.current - min(weights, reading.current)
    )


def _others_on_card(profile: DeviceProfile) -> int:
    """What of a card is neither free, nor this process's tensors and context."""
    place = parse_device(profile.torch_device or "cuda")
    if place.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(place)
    context = 0 if profile.libraries is None else profile.libraries.context[0]
    return max(total - free - torch.cuda.memory_reserved(place) - context, 0)
