"""Predicts the steps of a run with its weights: all on the device, or offloaded.

Offloading is decided by `dpnb.strategies.offload.engine`, which is replayed here: with a timeline
in place of networks that compute, and over a link that moves nothing and keeps the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.timeline import Boundary, Span, StepTimeline
from dpnb.strategies.fair_lock import FairLock
from dpnb.strategies.networks import Networks
from dpnb.strategies.offload.blocks import tensors_of
from dpnb.strategies.offload.engine import OffloadEngine
from dpnb.strategies.offload.link import Link, Mark
from dpnb.strategies.offload.packing import PackedWeights, Views
from dpnb.strategies.offload.streamed_network import NetworkListener, StreamedNetwork

DENOISING = "denoising"


@dataclass(frozen=True)
class StepPrediction:
    """What one step is predicted to cost, with the weights that it needs.

    Attributes:
        peak: the most bytes on the device, weights and all else.
        seconds: how long it lasts.
        waited: seconds of these in which the device waits for weights.
        moved: bytes that came from the host.
    """

    peak: int
    seconds: float
    waited: float = 0.0
    moved: int = 0


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


class TimedLink(Link):
    """A link that copies nothing, and says how long copies would have taken.

    Args:
        profile: of the device.

    Attributes:
        now: seconds that the device has worked and waited.
        waited: seconds of these in which it waited for copies.
    """

    def __init__(self, profile: DeviceProfile) -> None:
        super().__init__(torch.device("cpu"))
        self.now = self.waited = 0.0
        self._rate = profile.link or float("inf")
        self._is_asynchronous = profile.is_asynchronous
        self._transfer = profile.transfer
        self._busy_until = 0.0

    @override
    def _copy(self, target: Tensor, source: Tensor, after: Mark, what: str) -> Mark:
        issued = 0.0 if self._is_asynchronous else self.now
        self.now += self._transfer
        earliest = after.at if isinstance(after, Instant) else 0.0
        self._busy_until = max(self._busy_until, issued, earliest) + target.numel() / self._rate
        self.moved += target.numel()
        return Instant(self, self._busy_until)

    @override
    def mark(self) -> Mark:
        return Instant(self, self.now)

    @override
    def pin(self, memory: Tensor) -> None:
        """There is nothing to pin."""

    @override
    def unpin(self, memory: Tensor) -> None:
        pass

    @override
    def close(self) -> None:
        pass


@dataclass(eq=False)
class Instant(Mark):
    """A time of a `TimedLink`, in seconds."""

    link: TimedLink
    at: float

    @override
    def wait(self) -> None:
        """The device does nothing until then."""
        if self.at > self.link.now:
            self.link.waited += self.at - self.link.now
            self.link.now = self.at


@dataclass
class WeightSizes:
    """How large the weights of a pipeline are, as they are stored now.

    Attributes:
        resident: bytes on a device that has all of them.
        hosted: bytes of those that wait on the host by themselves, where there is a host beside.
        largest_hosted: of one of them.
        kept: bytes of the networks that no offloading moves.
        networks: those that it moves.
    """

    resident: int
    hosted: int
    largest_hosted: int
    kept: int
    networks: list[SizeOnlyNetwork]

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
        hosted = [p.nbytes for group in networks.hosted for p in group.original_devices]
        return cls(
            resident=_nbytes(network for _, network in networks.items()),
            hosted=sum(hosted),
            largest_hosted=max(hosted, default=0),
            kept=_nbytes(everything.values()),
            networks=[
                SizeOnlyNetwork(name, network, networks.is_hosted) for name, network in moved
            ],
        )


def idle_weight_bytes(networks: Networks) -> int:
    """Bytes of weights on the device between two runs, with what is switched on now."""
    if networks.link is None:
        return _nbytes(network for _, network in networks.items())
    moved = [network for _, network in networks.offload_order()]
    return _nbytes(network for _, network in networks.items() if network not in moved)


def _nbytes(networks: Iterable[nn.Module]) -> int:
    storages: dict[int, int] = {}
    for network in networks:
        for tensor in tensors_of(network):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def predict_resident(
    steps: Sequence[StepTimeline], weights: WeightSizes, profile: DeviceProfile
) -> list[StepPrediction]:
    """The steps of a run with all weights on the device."""
    waiting = weights.hosted if profile.is_asynchronous else 0
    visiting = weights.largest_hosted if waiting else 0
    base = weights.resident - waiting
    predictions, is_first = [], True
    for step in steps:
        moved = waiting if step.stage == DENOISING and is_first else 0
        is_first = is_first and step.stage != DENOISING
        waited = moved / profile.link if moved and profile.link else 0.0
        seconds = sum(profile.seconds(span.cost) for span in step.spans) + waited
        predictions.append(
            StepPrediction(base + step.peak + (visiting if moved else 0), seconds, waited, moved)
        )
    return predictions


@dataclass
class OffloadReplay:
    """A simulated run whose weights the offload engine brings to the device.

    Args:
        weights: that it brings.
        limit: bytes of them on the device.
        profile: of the device.
    """

    weights: WeightSizes
    limit: int
    profile: DeviceProfile
    link: TimedLink = field(init=False)
    _engine: OffloadEngine = field(init=False)
    _networks: Mapping[str, SizeOnlyNetwork] = field(init=False)
    _calls: list[ExitStack] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        for network in self.weights.networks:
            network.forget()
        self.link = TimedLink(self.profile)
        self._engine = OffloadEngine(self.link, list(self.weights.networks), self.limit, FairLock())
        self._networks = {network.name: network for network in self.weights.networks}

    def run(self, steps: Sequence[StepTimeline]) -> list[StepPrediction]:
        """Predict the steps; denoising ends with the last of its steps here."""
        total = sum(step.stage == DENOISING for step in steps)
        predictions, index = [], 0
        self._engine.begin()
        for step in steps:
            if step.stage == DENOISING:
                self._engine.before_step(index, total)
                index += 1
            predictions.append(self._predict_step(step))
        self._engine.end()
        return predictions

    def _predict_step(self, step: StepTimeline) -> StepPrediction:
        link, engine = self.link, self._engine
        started, waited, moved = link.now, link.waited, link.moved
        peak = 0
        for span in step.spans:
            link.now += self.profile.seconds(span.cost)
            peak = max(peak, link.held + span.peak)
            link.peak = link.held
            self._cross(engine, span)
            peak = max(peak, link.peak + span.end)
        return StepPrediction(
            self.weights.kept + peak, link.now - started, link.waited - waited, link.moved - moved
        )

    def _cross(self, engine: OffloadEngine, span: Span) -> None:
        network = self._networks.get(span.network)
        if network is None:
            return
        match span.boundary:
            case Boundary.CALL:
                self._calls.append(ExitStack())
                self._calls[-1].enter_context(engine.call(network, span.method))
            case Boundary.RETURN:
                self._calls.pop().close()
            case Boundary.ENTER if span.module is not None:
                engine.enter_block(network, span.module)
            case Boundary.LEAVE if span.module is not None:
                engine.leave_block(network, span.module)
