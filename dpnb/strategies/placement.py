"""Offloading: weights stay on the host, and are copied to the device when they are needed."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn
from typing_extensions import override

from dpnb.stages import Stage
from dpnb.strategies.execution_device import tell_execution_device
from dpnb.strategies.named_components import parse_components
from dpnb.strategies.networks import Networks, quantization_obstacle, valueless_obstacle
from dpnb.strategies.offload.backends import link_obstacle, open_link, target_device
from dpnb.strategies.offload.blocks import group_tied_tensors, tensors_of
from dpnb.strategies.offload.budget import compute_memory_range
from dpnb.strategies.offload.engine import OffloadEngine
from dpnb.strategies.offload.link import Link
from dpnb.strategies.offload.packing import PackedWeights
from dpnb.strategies.offload.streamed_network import StreamedNetwork
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo
from dpnb.units import format_bytes, parse_bytes


class OffloadStrategy(Strategy):
    """Keep weights on the host, from where they stream to the device that computes.

    Attributes:
        device: the accelerator, by name; that of this machine by default.
        exclude: components that stay on the device beside those that the pipeline names.
    """

    device: str | None
    exclude: tuple[str, ...]
    slot: ClassVar = Slot.PLACEMENT
    relieves: ClassVar = frozenset(Stage)

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "exclude", parse_components("exclude", self.exclude))
        given: Any = self.device
        device = str(given) if isinstance(given, torch.device) else given
        object.__setattr__(self, "device", device)
        if not isinstance(device, str | None):
            raise TypeError(
                f'device is {device!r}; give the name of a device, such as "cuda:1", or '
                "None for the accelerator of this machine."
            )
        target_device(self.device)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        return link_obstacle(self.device) or _networks_obstacle(self, networks, self.exclude)

    @override
    def execution_device(self, networks: Networks) -> torch.device | None:
        return target_device(self.device) if networks.link is None else networks.link.device

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Pack the weights of all networks, and load those of the one that is called."""
        streamed = collect_streamed_networks(networks, self.exclude)
        _stream(networks, streamed, self.device, self.compute_limit(streamed), undo)

    @abstractmethod
    def compute_limit(self, networks: list[StreamedNetwork]) -> int:
        """Bytes of weights that may be on the device."""


@dataclass(frozen=True, repr=False)
class ModelOffload(OffloadStrategy):
    """Keep weights on the host; the network that is called has the device to itself.

    Its weights come in while it begins to compute, stay until another network is called or the run
    ends, and never travel back. During the last step they go as they are used for the last time,
    and those of the network that follows come into their room. There is never more on the device
    than the largest network, and every network's tensors under 64 KiB.

    Args:
        device: `"cuda"`, `"cuda:1"`, or `"simulated:8GiB/s"` for a link that only takes the time
            of one; the accelerator of this machine by default.
        exclude: components that stay on the device beside those that the pipeline names.
    """

    device: str | None = None
    exclude: tuple[str, ...] = ()

    @override
    def compute_limit(self, networks: list[StreamedNetwork]) -> int:
        _, most = compute_memory_range(networks)
        return most


@dataclass(frozen=True, repr=False)
class SequentialOffload(OffloadStrategy):
    """Keep weights on the host; the blocks of a network stream through a small part of the device.

    While one block computes, those that follow come in. With a budget, some stay for a run, evenly
    spread, and the rest streams with more room to come in ahead.

    Args:
        budget: bytes of weights on the device, or text such as `"4GiB"`; without one, what the two
            largest blocks that follow one another need, and every tensor under 64 KiB.
        device: `"cuda"`, `"cuda:1"`, or `"simulated:8GiB/s"` for a link that only takes the time
            of one; the accelerator of this machine by default.
        exclude: components that stay on the device beside those that the pipeline names.
    """

    budget: int | str | None = field(
        default=None,
        metadata=hints(unit="bytes", limits=lambda networks: compute_budget_limits(networks)),
    )
    device: str | None = None
    exclude: tuple[str, ...] = ()

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is not None:
            parse_bytes(self.budget)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        reason = super().obstacle(networks)
        if reason is not None or self.budget is None:
            return reason
        least, _ = compute_memory_range(collect_streamed_networks(networks, self.exclude))
        if parse_bytes(self.budget) >= least:
            return None
        return (
            f"A budget of {format_bytes(parse_bytes(self.budget))} does not hold two blocks and "
            f"the small tensors; the least that works here is {least} bytes "
            f"({format_bytes(least)})."
        )

    @override
    def compute_limit(self, networks: list[StreamedNetwork]) -> int:
        least, _ = compute_memory_range(networks)
        return least if self.budget is None else parse_bytes(self.budget)


def collect_streamed_networks(
    networks: Networks, exclude: tuple[str, ...]
) -> list[StreamedNetwork]:
    """The networks that offloading moves, in the order of their use; nothing is moved yet."""
    return [
        StreamedNetwork(name, network, networks.is_hosted, networks.paths_into(network))
        for name, network in networks.offload_order()
        if name not in exclude and next(network.parameters(), None) is not None
    ]


def compute_budget_limits(networks: Networks) -> tuple[int, int]:
    """The least budget that works, in bytes, and the one that keeps everything on the device."""
    return compute_memory_range(collect_streamed_networks(networks, ()))


def _stream(
    networks: Networks,
    streamed: list[StreamedNetwork],
    device: str | None,
    limit: int,
    undo: Undo,
) -> None:
    link = open_link(device)
    undo.callback(link.close)
    moved = {network.module for network in streamed}
    others = [
        _move_to_device(name, kept, link, undo)
        for name, kept in networks.items()
        if kept not in moved and not _is_on(kept, link.device)
    ]
    if networks.has_foreign:
        tell_execution_device((network for _, network in networks.items()), link.device, undo)
    engine = OffloadEngine(link, streamed, limit, networks.lock)
    for network in streamed:
        undo.callback(network.close)
        network.open(link, engine)
    undo.callback(engine.unload)
    undo.set(networks, "streamed", (*streamed, *others))
    undo.set(networks, "link", link)
    undo.watch(engine)


def _move_to_device(name: str, network: nn.Module, link: Link, undo: Undo) -> PackedWeights:
    """Move a network to the device, to stay there."""
    weights = PackedWeights(name, group_tied_tensors(tensors_of(network)))
    undo.callback(weights.unpack)
    weights.pack(link.allocate(weights.nbytes))
    return weights


def _is_on(network: nn.Module, device: torch.device) -> bool:
    """Whether a network is on an accelerator already; a simulated one has nothing yet."""
    return device.type != "cpu" and all(t.device == device for t in tensors_of(network))


def _networks_obstacle(
    strategy: Strategy, networks: Networks, exclude: tuple[str, ...]
) -> str | None:
    kind = type(strategy).__name__
    names = {name for name, _ in networks.items()}
    if unknown := sorted(set(exclude) - names):
        return f"{kind} cannot exclude {', '.join(unknown)}; there are {', '.join(sorted(names))}."
    moved = [(n, network) for n, network in networks.offload_order() if n not in exclude]
    if not any(True for _, network in moved for _ in network.parameters()):
        return f"{kind} needs a network that it may move; there is none here."
    if networks.takes_gradients and not exclude:
        return (
            f"{kind} lets no gradient pass, and runs of this pipeline compute gradients; exclude "
            "the networks that these pass through, or leave it out."
        )
    for name, network in moved:
        if (reason := valueless_obstacle(name, network)) is not None:
            return reason
    return quantization_obstacle(type(strategy), networks.items())
