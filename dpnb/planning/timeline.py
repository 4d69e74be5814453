"""The timeline of a simulated run: memory and cost from one block of weights to the next."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from weakref import ref

from torch import UntypedStorage, nn

from dpnb.metering.tensors import TensorMeter, storage_number
from dpnb.planning.device_profile import Cost, DeviceProfile
from dpnb.planning.valueless import ValuelessTensors
from dpnb.stages import Stage
from dpnb.strategies.networks import Networks
from dpnb.strategies.offload.block_hooks import hook_blocks
from dpnb.strategies.offload.blocks import split_into_blocks, tensors_of
from dpnb.strategies.offload.calls import intercept
from dpnb.strategies.offload.reached_parts import find_reached_parts
from dpnb.strategies.offload.source_paths import SourcePath
from dpnb.strategies.undo import Undo


class Boundary(Enum):
    """What ends a span."""

    CALL = "a network is called"
    RETURN = "it returns"
    ENTER = "a block is about to compute"
    LEAVE = "a block has computed"
    STEP = "a step of a stage is over"


@dataclass(frozen=True)
class Span:
    """What a run costs between two boundaries.

    Attributes:
        peak: the most bytes of tensors, weights aside.
        end: how many are left at its end.
        cost: what its operations take.
        flops: of its operations.
        nbytes: that its operations read and write.
        boundary: what ends it.
        network: whose boundary that is.
        module: the block that is entered or left.
        method: that is called.
        events: what the run's tensors did meanwhile, as `TensorMeter.events` has them.
    """

    peak: int
    end: int
    cost: Cost
    flops: int
    nbytes: int
    boundary: Boundary
    network: str = ""
    module: nn.Module | None = None
    method: str = ""
    events: array[int] = field(default_factory=lambda: array("q"), compare=False, repr=False)


@dataclass(frozen=True)
class StepTimeline:
    """One step of a stage.

    Attributes:
        stage: which.
        spans: in order.
        recording: of the run in which it was seen; storages have numbers of their own in each.
    """

    stage: Stage
    spans: tuple[Span, ...]
    recording: object = field(default=None, compare=False, repr=False)

    @property
    def peak(self) -> int:
        """The most bytes of tensors, weights aside."""
        return max(span.peak for span in self.spans)

    @property
    def flops(self) -> int:
        """Floating-point operations."""
        return sum(span.flops for span in self.spans)

    @property
    def nbytes(self) -> int:
        """Bytes that are read and written."""
        return sum(span.nbytes for span in self.spans)

    @property
    def cost(self) -> Cost:
        """What its operations take."""
        return sum((span.cost for span in self.spans), Cost())


class TimelineRecorder:
    """Records the timeline of a valueless run.

    Args:
        valueless_mode: the mode in which it takes place.
        profile: of the device that would compute.
    """

    def __init__(self, valueless_mode: ValuelessTensors, profile: DeviceProfile) -> None:
        self.meter = TensorMeter()
        if profile.libraries is not None:
            self.meter.events = array("q")
        self._valueless_mode, self._profile = valueless_mode, profile
        self._spans: list[Span] = []

    @contextmanager
    def watch(self, networks: Networks) -> Iterator[None]:
        """Within, note what the calls of `networks` cost, and count what the run makes."""
        with Undo() as undo:
            for name, network in networks.items():
                if next(network.parameters(), None) is not None:
                    self._hook(name, network, networks.paths_into(network), undo)
            freed = [] if self.meter.events is None else list(self._watch_weights(networks))
            with self._valueless_mode.count_with(self.meter):
                self.meter.reset_peak()
                self._valueless_mode.operations.clear()
                yield
            del freed

    def end_step(self, stage: Stage) -> StepTimeline:
        """The timeline of the step that is over now."""
        self._cut(Boundary.STEP)
        spans, self._spans = self._spans, []
        return StepTimeline(stage, tuple(spans), self)

    def _watch_weights(self, networks: Networks) -> Iterator[ref[UntypedStorage]]:
        """Note among events which weights a run lets go, as one does that casts a network."""
        for network in (*(network for _, network in networks.items()), *networks.extra_networks):
            for tensor in tensors_of(network):
                number = storage_number(tensor)
                yield ref(tensor.untyped_storage(), partial(self._free_weight, number))

    def _free_weight(self, number: int, _: ref[UntypedStorage]) -> None:
        if self.meter.events is not None:
            self.meter.events.extend((number, 0))

    def _hook(
        self, name: str, network: nn.Module, paths: frozenset[SourcePath], undo: Undo
    ) -> None:
        enter = partial(self._cut, Boundary.ENTER, name)
        leave = partial(self._cut, Boundary.LEAVE, name)
        blocks = [module for _, module in split_into_blocks(network)]
        hook_blocks(blocks, find_reached_parts(network, paths), enter, leave, undo)
        intercept(network, self._calls_of(name), undo)

    def _calls_of(self, name: str) -> Callable[[str], AbstractContextManager[None]]:
        @contextmanager
        def within(method: str) -> Iterator[None]:
            self._cut(Boundary.CALL, name, method=method)
            yield
            self._cut(Boundary.RETURN, name, method=method)

        return within

    def _cut(
        self,
        boundary: Boundary,
        network: str = "",
        module: nn.Module | None = None,
        method: str = "",
    ) -> None:
        operations = self._valueless_mode.operations
        events = array("q")
        if self.meter.events is not None:
            events, self.meter.events = self.meter.events, events
        self._spans.append(
            Span(
                peak=self.meter.peak,
                end=self.meter.current,
                cost=self._profile.cost(operations),
                flops=sum(one.flops * count for one, count in operations.items()),
                nbytes=sum(one.nbytes * count for one, count in operations.items()),
                boundary=boundary,
                network=network,
                module=module,
                method=method,
                events=events,
            )
        )
        operations.clear()
        self.meter.reset_peak()


def add_bytes(step: StepTimeline, nbytes: int) -> StepTimeline:
    """The step beside something that is held all the time."""
    spans = (replace(span, peak=span.peak + nbytes, end=span.end + nbytes) for span in step.spans)
    return replace(step, spans=tuple(spans))
