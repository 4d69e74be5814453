"""How large the weights of a pipeline are, network by network and block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.metering.tensors import storage_number
from dpnb.nn.quantized import list_scales
from dpnb.strategies.networks import Networks
from dpnb.strategies.offload.blocks import tensors_of
from dpnb.strategies.offload.link import Link
from dpnb.strategies.offload.packing import PackedWeights, Views
from dpnb.strategies.offload.streamed_network import NetworkListener, StreamedNetwork


@dataclass
class WeightSizes:
    """How large the weights of a pipeline are, as they are stored now.

    Attributes:
        resident: bytes on a device that has all of them.
        hosted: bytes of those that wait on the host by themselves, where there is a host beside.
        largest_hosted: of one of them.
        kept: bytes of the networks that no offloading moves.
        networks: those that it moves.
        tensors: bytes of each storage that stays on a device which has all of them, by a number of
            it, in order.
        kept_tensors: likewise of the networks that no offloading moves.
    """

    resident: int
    hosted: int
    largest_hosted: int
    kept: int
    networks: list[SizeOnlyNetwork]
    tensors: Mapping[int, int] = field(default_factory=dict)
    kept_tensors: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, networks: Networks) -> WeightSizes:
        """Those of all `networks`."""
        everything = {id(n): n for _, n in networks.items()}
        moved = [
            (name, network)
            for name, network in networks.offload_order()
            if next(network.parameters(), None) is not None
        ]
        for _, network in moved:
            everything.pop(id(network))
        everything_there = [*(network for _, network in networks.items()), *networks.extra_networks]
        waiting = [p for group in networks.hosted for p in group.original_devices]
        hosted = [p.nbytes for p in waiting]
        elsewhere = {storage_number(p) for p in waiting}
        there = _storages(everything_there)
        kept = _storages([*everything.values(), *networks.extra_networks])
        return cls(
            resident=sum(there.values()),
            hosted=sum(hosted),
            largest_hosted=max(hosted, default=0),
            kept=sum(kept.values()),
            tensors={number: size for number, size in there.items() if number not in elsewhere},
            kept_tensors=kept,
            networks=[
                SizeOnlyNetwork(name, network, networks.is_hosted, networks.paths_into(network))
                for name, network in moved
            ],
        )


def idle_weight_bytes(networks: Networks) -> int:
    """Bytes of weights on the device between two runs, with what is switched on now."""
    moved = [] if networks.link is None else [one for _, one in networks.offload_order()]
    kept = [network for _, network in networks.items() if network not in moved]
    return _nbytes([*kept, *networks.extra_networks])


def _nbytes(networks: Iterable[nn.Module]) -> int:
    return sum(_storages(networks).values())


def _storages(networks: Iterable[nn.Module]) -> dict[int, int]:
    """The bytes of every storage of weights, by its number, in order."""
    storages: dict[int, int] = {}
    for network in networks:
        for tensor in (*tensors_of(network), *list_scales(network)):
            storage = tensor.untyped_storage()
            storages[storage_number(tensor)] = storage.nbytes()
    return storages


class SizeOnlyWeights(PackedWeights):
    """Packed weights of which only the size is known: nothing is packed or copied."""

    @override
    def make_views(self, memory: Tensor, start: int) -> Views:
        return []

    @override
    def point_to_device(self, views: Views) -> None:
        self._device_addresses = [0]

    @override
    def point_to_host(self, *, force: bool = False) -> None:
        self._device_addresses = []

    @override
    def adopt_changes(self) -> bool:
        return True


class SizeOnlyNetwork(StreamedNetwork):
    """A network of whose blocks only the sizes are known, and whose weights are never moved."""

    @override
    def _assign_tensors(self) -> None:
        super()._assign_tensors()
        self.small_tensors = _without_bytes(self.small_tensors)
        self.packs = {
            module: None if weights is None else _without_bytes(weights)
            for module, weights in self.packs.items()
        }

    @override
    def _repack_changes(self, link: Link, listener: NetworkListener) -> None:
        """What is switched on may be another plan by now: the sizes are those of this one."""

    def forget(self) -> None:
        """Forget the order of blocks that the engine has learnt, as before a first run."""
        self._orders, self.latest_order = {}, None


def _without_bytes(weights: PackedWeights) -> SizeOnlyWeights:
    return SizeOnlyWeights(weights.name, [item.holders for item in weights.items])


def list_dtypes(parts: Iterable[object]) -> list[torch.dtype]:
    """The dtypes of networks' floating-point weights, that of most first."""
    sizes: Counter[torch.dtype] = Counter()
    for part in parts:
        for weight in part.parameters() if isinstance(part, nn.Module) else ():
            if weight.is_floating_point():
                sizes[weight.dtype] += weight.numel()
    return [dtype for dtype, _ in sizes.most_common()]


def describe_dtypes(dtypes: Iterable[torch.dtype]) -> str | None:
    """These in words; `None` for none."""
    return " and ".join(str(dtype).removeprefix("torch.") for dtype in dtypes) or None
