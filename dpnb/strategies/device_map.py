"""Every component on a device of its own, and what fits on none on the host or the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, ClassVar, TypeAlias

import torch
from torch import nn
from typing_extensions import Self, override

from dpnb.devices import accelerator, is_present, parse_device, with_index
from dpnb.nn.no_split import NoSplit
from dpnb.nn.quantized import nbytes_of, quantization_of
from dpnb.numbers import to_builtin
from dpnb.stages import Stage
from dpnb.strategies.execution_device import tell_execution_device
from dpnb.strategies.named_components import parse_pairs
from dpnb.strategies.networks import Networks, first_device, quantization_obstacle
from dpnb.strategies.offload.dispatch import ComponentPlacement, dispatch, free_lost_parameters
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
    accelerate does it, but for those that others compute with: these stay on that device.

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
    relieves: ClassVar = frozenset(Stage)

    @override
    def __post_init__(self) -> None:
        object.__setattr__(self, "device_map", _parse_map(self.device_map))
        object.__setattr__(self, "max_memory", _parse_sizes(self.max_memory))
        folder = self.offload_folder
        if not isinstance(folder, str | PathLike | None):
            raise TypeError(
                f"offload_folder is {folder!r}; give the path of a folder, or None for a temporary "
                "one."
            )
        object.__setattr__(self, "offload_folder", None if folder is None else fspath(folder))

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
        given: Any = device_map
        sizes: Any = max_memory or ()
        return cls(given, sizes, offload_folder)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        try:
            placements = self.place_components(networks)
        except ValueError as error:
            return str(error)
        if not placements:
            return "A device map needs components with weights; there are none here."
        reasons = (_device_obstacle(p.device) or _quantization_obstacle(p) for p in placements)
        return next((reason for reason in reasons if reason is not None), None)

    @override
    def execution_device(self, networks: Networks) -> torch.device | None:
        """Where latents are: on the first accelerator of the map."""
        if networks.meeting_place is not None:
            return networks.meeting_place
        return _first_accelerator([p.device for p in self.place_components(networks)])

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Move weights, and let tensors follow them."""
        placements = self.place_components(networks)
        device = _first_accelerator([p.device for p in placements])
        lost: list[nn.Parameter] = []
        for placement in placements:
            lost += dispatch(
                placement,
                device,
                self.offload_folder,
                networks.is_hosted,
                undo,
                networks.paths_into(placement.network),
            )
            free_lost_parameters(lost, (one.network for one in placements))
            if networks.has_foreign:
                tell_execution_device([placement.network], placement.device, undo)
        undo.set(networks, "meeting_place", device)

    def resolve_device_map(self, networks: Networks) -> dict[str, str]:
        """Component, or part of one → where its weights are."""
        found: dict[str, str] = {}
        for placement in self.place_components(networks):
            if "" not in placement.offloaded:
                found[placement.name] = str(placement.device)
            for path, home in placement.offloaded.items():
                found[_join(placement.name, path)] = home
        return found

    def place_components(self, networks: Networks) -> list[ComponentPlacement]:
        """Where every component belongs.

        Raises:
            ValueError: the map names what is not there, or contradicts itself.
        """
        weighty = {
            name: network
            for name, network in networks.items()
            if next(network.parameters(), None) is not None
        }
        if self.device_map in ("balanced", "auto"):
            return _balance(weighty, dict(self.max_memory))
        if isinstance(self.device_map, str):
            return _follow_map(weighty, dict.fromkeys(weighty, self.device_map))
        return _follow_map(weighty, dict(self.device_map))


def _balance(
    networks: Mapping[str, nn.Module], most: Mapping[str, str]
) -> list[ComponentPlacement]:
    """The largest components first, each on the accelerator with most room."""
    room = _find_free_memory(most)
    accelerators = [name for name in room if name != CPU]
    placements = []
    for name, network in sorted(networks.items(), key=lambda item: -nbytes_of(item[1])):
        target = max(accelerators, key=lambda device: room[device], default=CPU)
        away = {} if nbytes_of(network) <= room[target] else _find_overflow(network, target, room)
        placements.append(ComponentPlacement(name, network, with_index(torch.device(target)), away))
        for home, size in _nbytes_by_device(placements[-1]).items():
            room[home] = max(room.get(home, 0) - size, 0)
    return placements


def _find_overflow(network: nn.Module, target: str, room: Mapping[str, int]) -> dict[str, str]:
    """Where the parts of a network wait that do not fit on `target`."""
    from accelerate import infer_auto_device_map

    key = _accelerate_key(target)
    found = infer_auto_device_map(
        network,
        {key: room[target]} | ({} if target == CPU else {CPU: room[CPU]}),
        no_split_module_classes=[
            *WHOLE,
            *{type(module).__name__ for module in network.modules() if isinstance(module, NoSplit)},
            *(getattr(network, "_no_split_modules", None) or []),
        ],
    )
    return {path: str(home) for path, home in found.items() if home != key}


def _follow_map(
    networks: Mapping[str, nn.Module], homes: Mapping[str, str]
) -> list[ComponentPlacement]:
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
    devices = [torch.device(home) for home in homes.values() if home not in (CPU, DISK)]
    first = _first_accelerator(devices)
    return [_place_component(name, networks[name], part, first) for name, part in parts.items()]


def _place_component(
    name: str, network: nn.Module, part: Mapping[str, str], first: torch.device
) -> ComponentPlacement:
    devices = {home for home in part.values() if home not in (CPU, DISK)}
    if len(devices) > 1:
        raise ValueError(
            f"The device map divides {name} among {' and '.join(sorted(devices))}; a component "
            "computes on one device, and its other parts can wait on the cpu or the disk."
        )
    is_at_home = part.get("") == CPU or (not devices and CPU in part.values())
    device = torch.device(devices.pop()) if devices else torch.device(CPU) if is_at_home else first
    waiting = {CPU, DISK} - {device.type}
    offloaded = {path: home for path, home in part.items() if home in waiting}
    return ComponentPlacement(name, network, device, offloaded)


def _find_free_memory(most: Mapping[str, str]) -> dict[str, int]:
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


def _nbytes_by_device(placement: ComponentPlacement) -> dict[str, int]:
    sizes = {str(placement.device): nbytes_of(placement.network)}
    for path, home in placement.offloaded.items():
        size = nbytes_of(placement.network.get_submodule(path))
        sizes[str(placement.device)] -= size
        sizes[home] = sizes.get(home, 0) + size
    return sizes


def _device_obstacle(device: torch.device) -> str | None:
    if is_present(device):
        return None
    return f"The device map names {device}, which this machine does not have."


def _quantization_obstacle(placement: ComponentPlacement) -> str | None:
    """Why a quantized component cannot be placed so, as a sentence."""
    stored = quantization_of(placement.network)
    if stored is None:
        return None
    if placement.offloaded:
        return (
            f"{placement.name} holds {stored} weights, no part of which can wait elsewhere; give "
            f"{placement.name} a device as a whole."
        )
    is_moved = first_device(placement.network) != placement.device
    return (
        quantization_obstacle(DeviceMap, [(placement.name, placement.network)])
        if is_moved
        else None
    )


def _first_accelerator(devices: list[torch.device]) -> torch.device:
    away = (device for device in devices if device.type not in (CPU, "meta"))
    return next(away, torch.device(CPU))


def _parse_map(given: Any) -> str | Pairs:
    wanted = '"balanced", a device, or what each component is on, such as {"unet": "cuda"}'
    one = to_builtin(given)
    if isinstance(one, (str, int, torch.device)) and not isinstance(one, bool):
        name = _device_name(one)
        if name not in ("balanced", "auto", DISK):
            parse_device(name)
        return name
    pairs = parse_pairs("device_map", _named_by(_device_name, given, 1), wanted)
    for _, device in pairs:
        if device != DISK:
            parse_device(device)
    return pairs


def _parse_sizes(given: Any) -> Pairs:
    wanted = 'how much each device takes, such as {"cpu": "4GiB"}'
    sized = _named_by(lambda size: str(to_builtin(size)), given, 1)
    pairs = parse_pairs("max_memory", _named_by(_device_name, sized, 0), wanted)
    for _, size in pairs:
        parse_bytes(size)
    return pairs


def _named_by(name: Callable[[Any], str], given: Any, place: int) -> Any:
    """Pairs, also those of a mapping, with text in one place; anything else as it is."""
    pairs = given.items() if isinstance(given, Mapping) else given
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        return given
    return [_replace(pair, place, name) for pair in pairs]


def _replace(pair: Any, place: int, name: Callable[[Any], str]) -> Any:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        return pair
    return tuple(name(one) if at == place else one for at, one in enumerate(pair))


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
