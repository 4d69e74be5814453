"""Every component on a device of its own, and what fits on none on the host or the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import nn
from typing_extensions import Self, override

from dpnb.devices import accelerator, is_present, parse_device, with_index
from dpnb.nn.quantized import nbytes_of, quantization_of
from dpnb.nn.whole import Whole
from dpnb.numbers import to_builtin
from dpnb.strategies.networks import Networks, bound, first_device
from dpnb.strategies.offload.dispatch import Seat, dispatch
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo
from dpnb.units import parse_bytes

Pairs: TypeAlias = tuple[tuple[str, str], ...]

DISK, CPU = "disk", "cpu"

WHOLE = ("ResnetBlock", "TransformerBlock", "Attention", "PictureAttention")
"""Kinds of blocks that are on one device as a whole, beside those that say so."""


@dataclass(frozen=True, repr=False)
class DeviceMap(Strategy):
    """Give every component a device; what fits on none waits on the host or on the disk.

    A component computes on one device. Weights of it that are elsewhere come in layer by layer, as
    accelerate does it.

    Args:
        device_map: `"balanced"` fills the accelerators with the largest components first; a device
            takes everything; or pairs of a component, or of a part such as `"unet.mid_block"`, and
            a device, `"cpu"` or `"disk"`. What is not named goes where the rest of its component
            is, or to the first device.
        max_memory: pairs of a device, or `"cpu"`, and the most that is put there, as `"4GiB"`.
        offload_folder: where weights on the disk are written; a temporary folder by default.
    """

    device_map: str | Pairs = "balanced"
    max_memory: Pairs = ()
    offload_folder: str | None = None
    slot: ClassVar = Slot.PLACEMENT
    relieves: ClassVar = frozenset({"text", "encoding", "denoising", "decoding"})

    @override
    def __post_init__(self) -> None:
        for _, size in self.max_memory:
            parse_bytes(size)
        if isinstance(self.device_map, str):
            if self.device_map not in ("balanced", "auto", DISK):
                parse_device(self.device_map)
            return
        for _, device in self.device_map:
            if device != DISK:
                parse_device(device)

    @classmethod
    def of(
        cls,
        device_map: str | int | torch.device | Mapping[str, Any],
        max_memory: Mapping[int | str, int | str] | None = None,
        offload_folder: str | None = None,
    ) -> Self:
        """The strategy for arguments as `from_pretrained` takes them.

        Args:
            device_map: `"balanced"`, a device, or component → device, where a number is that of an
                accelerator.
            max_memory: device or its number → bytes, or text such as `"4GiB"`.
            offload_folder: where weights on the disk are written.
        """
        if isinstance(device_map, Mapping):
            pairs = tuple((name, _device_name(device)) for name, device in device_map.items())
            return cls(pairs, _sizes(max_memory), offload_folder)
        return cls(_device_name(device_map), _sizes(max_memory), offload_folder)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        try:
            seats = self.seats(networks)
        except ValueError as error:
            return str(error)
        if not seats:
            return "A device map needs components with weights; there are none here."
        reasons = (_missing(seat.device) or _unmoved(seat) for seat in seats)
        return next((reason for reason in reasons if reason is not None), None)

    @override
    def execution_device(self, networks: Networks) -> torch.device | None:
        """Where latents are: on the first accelerator of the map."""
        return networks.meeting_place or _first([seat.device for seat in self.seats(networks)])

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Move weights, and let tensors follow them."""
        seats = self.seats(networks)
        device = _first([seat.device for seat in seats])
        for seat in seats:
            dispatch(seat, device, self.offload_folder, networks.is_hosted, undo)
        undo.set(networks, "meeting_place", device)

    def placement(self, networks: Networks) -> dict[str, str]:
        """Component, or part of one → where its weights are."""
        found: dict[str, str] = {}
        for seat in self.seats(networks):
            if "" not in seat.away:
                found[seat.name] = str(seat.device)
            found |= {_join(seat.name, path): home for path, home in seat.away.items()}
        return found

    def seats(self, networks: Networks) -> list[Seat]:
        """Where every component belongs.

        Raises:
            ValueError: the map names what is not there, or contradicts itself.
        """
        weighty = {
            name: network
            for name, network in networks.named()
            if next(network.parameters(), None) is not None
        }
        if self.device_map in ("balanced", "auto"):
            return _balanced(weighty, dict(self.max_memory))
        if isinstance(self.device_map, str):
            return _named(weighty, dict.fromkeys(weighty, self.device_map))
        return _named(weighty, dict(self.device_map))


def _balanced(networks: Mapping[str, nn.Module], most: Mapping[str, str]) -> list[Seat]:
    """The largest components first, each on the accelerator with most room."""
    room = _room(most)
    accelerators = [name for name in room if name != CPU]
    seats = []
    for name, network in sorted(networks.items(), key=lambda item: -nbytes_of(item[1])):
        target = max(accelerators, key=lambda device: room[device], default=CPU)
        away = {} if nbytes_of(network) <= room[target] else _overflow(network, target, room)
        seats.append(Seat(name, network, with_index(torch.device(target)), away))
        for home, size in _sizes_of(seats[-1]).items():
            room[home] = max(room.get(home, 0) - size, 0)
    return seats


def _overflow(network: nn.Module, target: str, room: Mapping[str, int]) -> dict[str, str]:
    """Where the parts of a network wait that do not fit on `target`."""
    from accelerate import infer_auto_device_map

    key = _accelerate_key(target)
    found = infer_auto_device_map(
        network,
        {key: room[target]} | ({} if target == CPU else {CPU: room[CPU]}),
        no_split_module_classes=[
            *WHOLE,
            *{type(module).__name__ for module in network.modules() if isinstance(module, Whole)},
            *(getattr(network, "_no_split_modules", None) or []),
        ],
    )
    return {path: str(home) for path, home in found.items() if home != key}


def _named(networks: Mapping[str, nn.Module], homes: Mapping[str, str]) -> list[Seat]:
    parts: dict[str, dict[str, str]] = {name: {} for name in networks}
    homes = {path: _numbered_name(home) for path, home in homes.items()}
    for path, home in homes.items():
        component, _, rest = path.partition(".")
        if component not in parts:
            raise ValueError(
                f"The device map names {component!r}; the components with weights are "
                f"{', '.join(sorted(parts))}."
            )
        if rest not in dict(networks[component].named_modules()):
            raise ValueError(f"The device map names {path!r}; {component} has no part {rest!r}.")
        parts[component][rest] = home
    first = _first([torch.device(home) for home in homes.values() if home not in (CPU, DISK)])
    return [_seat(name, networks[name], part, first) for name, part in parts.items()]


def _seat(name: str, network: nn.Module, part: Mapping[str, str], first: torch.device) -> Seat:
    devices = {home for home in part.values() if home not in (CPU, DISK)}
    if len(devices) > 1:
        raise ValueError(
            f"The device map divides {name} among {' and '.join(sorted(devices))}; a component "
            "computes on one device, and its other parts can wait on the cpu or the disk."
        )
    is_at_home = part.get("") == CPU or (not devices and CPU in part.values())
    device = torch.device(devices.pop()) if devices else torch.device(CPU) if is_at_home else first
    waiting = {CPU, DISK} - {device.type}
    return Seat(name, network, device, {p: home for p, home in part.items() if home in waiting})


def _room(most: Mapping[str, str]) -> dict[str, int]:
    """Device → free bytes on it, no more than `most` says."""
    from accelerate.utils import get_max_memory

    found = {_device_name(device): size for device, size in get_max_memory().items()}
    if not most:
        return found
    for device in most:
        if device not in found:
            raise ValueError(f"max_memory names {device}; there are {', '.join(found)} here.")
    given = {
        name: min(parse_bytes(most[name]), size) for name, size in found.items() if name in most
    }
    return {CPU: found[CPU]} | given


def _sizes_of(seat: Seat) -> dict[str, int]:
    sizes = {str(seat.device): nbytes_of(seat.network)}
    for path, home in seat.away.items():
        size = nbytes_of(seat.network.get_submodule(path))
        sizes[str(seat.device)] -= size
        sizes[home] = sizes.get(home, 0) + size
    return sizes


def _missing(device: torch.device) -> str | None:
    if is_present(device):
        return None
    return f"The device map names {device}, which this machine does not have."


def _unmoved(seat: Seat) -> str | None:
    """What of a quantized component cannot go to its seat."""
    stored = quantization_of(seat.network)
    if stored is None:
        return None
    if seat.away:
        return (
            f"{seat.name} holds {stored} weights, no part of which can wait elsewhere; give "
            f"{seat.name} a device as a whole."
        )
    is_moved = first_device(seat.network) != seat.device
    return bound(DeviceMap, [(seat.name, seat.network)]) if is_moved else None


def _first(devices: list[torch.device]) -> torch.device:
    away = (device for device in devices if device.type not in (CPU, "meta"))
    return next(away, torch.device(CPU))


def _sizes(given: Mapping[int | str, int | str] | None) -> Pairs:
    return tuple(
        (_device_name(device), str(to_builtin(size))) for device, size in (given or {}).items()
    )


def _numbered_name(home: str) -> str:
    return home if home == DISK else str(with_index(torch.device(home)))


def _device_name(device: object) -> str:
    device = to_builtin(device)
    if isinstance(device, int):
        kind = accelerator()
        return f"{'cuda' if kind is None else kind.type}:{device}"
    return str(device)


def _accelerate_key(device: str) -> str | int:
    """Accelerate numbers the accelerators of this machine."""
    return CPU if device == CPU else torch.device(device).index or 0


def _join(component: str, path: str) -> str:
    return f"{component}.{path}" if path else component
