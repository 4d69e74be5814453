"""The networks that strategies act on: those of all pipelines that share some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable
from weakref import ref

import torch
from torch import Tensor, nn

from dpnb.nn.compiled import plain_network
from dpnb.nn.quantized import has_bitsandbytes_layers, quantization_of
from dpnb.strategies.fair_lock import FairLock
from dpnb.strategies.offload.hosted_weights import HostedWeights
from dpnb.strategies.offload.source_paths import SourcePath
from dpnb.strategies.reuse.reuse_count import ReuseCount
from dpnb.strategies.set_aside import SetAside
from dpnb.switchboard import STANDS_FOR

if TYPE_CHECKING:
    from dpnb.strategies.offload.link import Link
    from dpnb.strategies.undo import Undo

M = TypeVar("M", bound=nn.Module)


class Owner(Protocol):
    """Who has networks: a pipeline, as far as strategies know it, or a network by itself."""

    def parts(self) -> Mapping[str, Any]:
        """Its components by name."""
        ...

    @property
    def offload_sequence(self) -> tuple[str, ...]:
        """The names of the parts that offloading moves, in the order in which they are used."""
        ...

    @property
    def never_offloaded(self) -> tuple[str, ...]:
        """The names of parts that offloading leaves alone."""
        ...


@runtime_checkable
class Exchanger(Protocol):
    """An owner some of whose networks others have written, and dpnb has as well."""

    def known_networks(self) -> Mapping[str, nn.Module]:
        """Name of a component → dpnb's network of the same shape, whose tensors it has not yet."""
        ...

    def exchange(self, name: str, undo: Undo) -> None:
        """Let dpnb's network stand for a component, around the same tensors."""
        ...


@runtime_checkable
class Reader(Owner, Protocol):
    """An owner whose own code may reach into its networks."""

    @property
    def takes_gradients(self) -> bool:
        """Whether its runs compute gradients."""
        ...

    def paths_into(self, name: str) -> frozenset[SourcePath]:
        """What its code follows from the component of this name on."""
        ...


class OffloadedWeights(Protocol):
    """Weights that are elsewhere until a strategy is switched off."""

    def set_original_device(self, device: torch.device) -> None:
        """Let this be where they go then."""
        ...


class LoneNetwork:
    """A network without a pipeline: the owner of itself."""

    offload_sequence: tuple[str, ...] = ()
    never_offloaded: tuple[str, ...] = ()

    def __init__(self, name: str, network: nn.Module) -> None:
        self._name, self._network = name, ref(network)

    def parts(self) -> Mapping[str, Any]:
        """The network, as long as it lives."""
        network = self._network()
        return {} if network is None else {self._name: network}

    def is_part_of(self, owner: Owner) -> bool:
        """Whether the network is a component of `owner`."""
        return any(network is self._network() for _, network in networks_of(owner))


class Networks:
    """The networks of its owners, each once. Owners are held weakly.

    Attributes:
        hosted: weights that a strategy looks after by itself; placements leave them alone.
        streamed: all others, while a placement brings them in.
        extra_networks: networks of no owner that a strategy computes with; they stay on the device.
        reuse_count: how much of a step is reused, while a strategy reuses anything.
        meeting_place: where tensors are between two components that a device map has parted.
        link: what brings weights to the device, while a placement keeps them on the host.
        set_aside: keeps values that are needed again, and returns what brings them back, as often
            as it is called.
        stored_small: layers whose weights a strategy keeps in another dtype than they compute in.
        lock: held by whoever computes with the networks, or changes them.
    """

    def __init__(self) -> None:
        self.set_aside: Callable[[Tensor], Callable[[], Tensor]] = SetAside()
        self.lock = FairLock()
        self._owners: list[ref[Any]] = []
        self.hosted: tuple[HostedWeights, ...] = ()
        self.streamed: tuple[OffloadedWeights, ...] = ()
        self.extra_networks: tuple[nn.Module, ...] = ()
        self.stored_small: frozenset[nn.Module] = frozenset()
        self.link: Link | None = None
        self.meeting_place: torch.device | None = None
        self.reuse_count: ReuseCount | None = None

    def is_hosted(self, tensor: Tensor) -> bool:
        """Whether a strategy looks after this parameter by itself."""
        return any(tensor in hosted.original_devices for hosted in self.hosted)

    @property
    def owners(self) -> list[Any]:
        """Those that are still alive, in the order in which they came."""
        return [owner for held in self._owners if (owner := held()) is not None]

    def admit(self, owner: Owner) -> None:
        """Take in an owner; one that is here already stays where it is."""
        if all(known is not owner for known in self.owners):
            self._owners.append(ref(owner))

    def release(self, owner: Owner) -> None:
        """Let an owner go."""
        self._owners = [held for held in self._owners if held() not in (None, owner)]

    def shares_nothing(self, owner: Owner) -> bool:
        """Whether there are others here, and `owner` has no network in common with any of them."""
        others = [other for other in self.owners if other is not owner]
        theirs = {id(network) for other in others for _, network in networks_of(other)}
        own = {id(network) for _, network in networks_of(owner)}
        return bool(others) and theirs.isdisjoint(own)

    @property
    def device(self) -> torch.device:
        """Where the networks compute: the accelerator, if any of them is there or brought there."""
        if self.link is not None:
            return self.link.device
        devices = [first_device(network) for _, network in self.items()]
        away = (device for device in devices if device.type not in ("cpu", "meta"))
        return next(away, torch.device("cpu"))

    def items(self, *names: str) -> Iterator[tuple[str, nn.Module]]:
        """Every network once, with the name by which its pipeline knows it.

        Args:
            names: only components of these names; all of them by default.
        """
        seen: set[int] = set()
        for owner in self.owners:
            for name, network in networks_of(owner):
                is_wanted = not names or name.partition("[")[0] in names or name in names
                if is_wanted and id(network) not in seen:
                    seen.add(id(network))
                    yield name, network

    def foreign_items(self, *names: str) -> Iterator[tuple[str, nn.Module]]:
        """Those of `items` that `is_foreign` tells."""
        return (pair for pair in self.items(*names) if is_foreign(pair[1]))

    @property
    def has_foreign(self) -> bool:
        """Whether others have written a network, also while dpnb's stands for it."""
        networks = [plain_network(network) for _, network in self.items()]
        return any(is_foreign(network) or STANDS_FOR in vars(network) for network in networks)

    def modules_of(self, kind: type[M], *names: str) -> Iterator[M]:
        """Every module of a kind once, in all networks or in those of these names."""
        for _, network in self.items(*names):
            for module in network.modules():
                if isinstance(module, kind):
                    yield module

    def exchangeable(self, kinds: tuple[type[object], ...]) -> Iterator[tuple[Exchanger, str]]:
        """The components that dpnb has as a network of one of these classes, and their owners."""
        for owner in self.owners:
            if isinstance(owner, Exchanger):
                for name, network in owner.known_networks().items():
                    if isinstance(network, kinds):
                        yield owner, name

    def can_exchange(self, *kinds: type[object]) -> bool:
        """Whether dpnb has a component, which others have written, as one of these classes."""
        return next(self.exchangeable(kinds), None) is not None

    @property
    def _readers(self) -> list[Reader]:
        return [owner for owner in self.owners if isinstance(owner, Reader)]

    @property
    def takes_gradients(self) -> bool:
        """Whether runs of any owner compute gradients."""
        return any(owner.takes_gradients for owner in self._readers)

    def paths_into(self, network: nn.Module) -> frozenset[SourcePath]:
        """What the code of owners follows from a network on."""
        return frozenset(
            path
            for owner in self._readers
            for name, own in networks_of(owner)
            if own is network
            for path in owner.paths_into(name)
        )

    def offload_order(self) -> list[tuple[str, nn.Module]]:
        """The networks that offloading moves, in the order in which a run uses them."""
        names: dict[str, None] = {}
        excluded: set[str] = set()
        for owner in self.owners:
            names |= dict.fromkeys(owner.offload_sequence)
            excluded |= set(owner.never_offloaded)
        rank = {name: place for place, name in enumerate(names)}
        parts = [(name.partition("[")[0], name, network) for name, network in self.items()]
        moved = [(part, name, network) for part, name, network in parts if part not in excluded]
        moved.sort(key=lambda one: rank.get(one[0], len(rank)))
        return [(name, network) for _, name, network in moved]


def networks_of(owner: Owner) -> Iterator[tuple[str, nn.Module]]:
    """The networks of an owner with their names; those of a list as `"controlnet[0]"`."""
    for name, part in owner.parts().items():
        if isinstance(part, (list, tuple, nn.ModuleList)):
            for place, item in enumerate(part):
                if isinstance(item, nn.Module):
                    yield f"{name}[{place}]", item
        elif isinstance(part, nn.Module):
            yield name, part


def is_foreign(network: nn.Module) -> bool:
    """Whether a network is neither one of dpnb's nor a text or picture encoder of transformers."""
    ancestors = type(plain_network(network)).__mro__
    roots = {ancestor.__module__.partition(".")[0] for ancestor in ancestors}
    return roots.isdisjoint({"dpnb", "transformers"})


def absence_obstacle(what: str, needed: str, networks: Networks, none: str) -> str:
    """Why a strategy has nothing to act on, and what to do, as a sentence.

    Args:
        what: the strategy.
        needed: the parts of dpnb's networks that it acts on.
        networks: those at hand, which have none of them.
        none: that there are none.
    """
    others = [
        f"{name} is {type(plain_network(network)).__name__} of {_package(network)}"
        for name, network in networks.foreign_items()
    ]
    if not others:
        return f"{what} needs {needed} of dpnb's; {none}."
    return (
        f"{what} needs {needed} of dpnb's, and {', '.join(others)}; leave it out, or load the "
        "model as a pipeline of dpnb's where there is one."
    )


def _package(network: nn.Module) -> str:
    return type(plain_network(network)).__module__.partition(".")[0]


def quantization_obstacle(
    kind: type[object], networks: Iterable[tuple[str, nn.Module]]
) -> str | None:
    """Why a strategy of this class cannot move the weights of `networks`, as a sentence."""
    for name, network in networks:
        if has_bitsandbytes_layers(network):
            return (
                f"{kind.__name__} cannot move the {quantization_of(network)} weights of {name}, "
                "which bitsandbytes looks after; quantize with torchao, for example to int8, or "
                f"leave {kind.__name__} out."
            )
    return None


def valueless_obstacle(name: str, network: nn.Module) -> str | None:
    """Why nothing can be done with the weights of a network that have no values, as a sentence.

    Args:
        name: what its pipeline calls it.
        network: the network.
    """
    if any(tensor.is_meta and tensor.numel() for tensor in _parameters_and_buffers(network)):
        return f"{name} has tensors without values (on the meta device); load them first."
    return None


def _parameters_and_buffers(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def first_device(network: nn.Module) -> torch.device:
    """Where a network's first parameter is; the CPU for one without parameters."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))
