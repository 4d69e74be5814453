"""A simulated run replayed through the model of a card's allocator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dpnb.planning.allocator_blocks import Block
from dpnb.planning.allocator_settings import AllocatorSettings
from dpnb.planning.caching_allocator import CachingAllocator
from dpnb.planning.card_memory import CardMemory
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.timeline import StepTimeline
from dpnb.planning.valueless import SCRATCH
from dpnb.planning.weight_sizes import WeightSizes
from dpnb.planning.workspaces import CardLibraries
from dpnb.stages import Stage


class CardReplay:
    """What a card's allocator does while a run goes on.

    Everything is on one stream: the offload engine's memory too comes from that which computes.

    Args:
        libraries: of the card.
        settings: of the allocator; those of this process by default.
    """

    def __init__(self, libraries: CardLibraries, settings: AllocatorSettings | None = None) -> None:
        self.allocator = CachingAllocator(settings or AllocatorSettings.of_environment())
        self._libraries = libraries
        self._live: dict[int, Block | None] = {}
        self._recording: object = None
        self._played: set[int] = set()
        self._ready = False

    def load(self, tensors: Mapping[int, int]) -> None:
        """Weights, each by itself, in their order.

        Args:
            tensors: their bytes, by the numbers that events call them.
        """
        for number, nbytes in tensors.items():
            self._live[number] = self.allocator.allocate(nbytes)

    def is_new(self, step: StepTimeline) -> bool:
        """Whether such a step was not played yet; one that stands for several is played once."""
        mark = id(step.spans[0].events)
        if mark in self._played:
            return False
        self._played.add(mark)
        if self._recording not in (None, step.recording):
            # Storages have other numbers in another recording; what is left of the former stays.
            self._live = {}
        self._recording = step.recording
        return True

    def play(self, events: Sequence[int]) -> None:
        """What tensors do: pairs of a number and bytes, as `TensorMeter.events` has them."""
        if not self._ready:
            self._ready = True
            for nbytes in self._libraries.workspaces():
                self.allocator.allocate(nbytes)
        allocate, free, live = self.allocator.allocate, self.allocator.free, self._live
        pairs = iter(events)
        for key, nbytes in zip(pairs, pairs, strict=True):
            if key == SCRATCH:
                free(allocate(nbytes))
                continue
            if not nbytes:
                if key in live:
                    free(live.pop(key))
                continue
            made = allocate(nbytes)
            if key in live:
                free(live[key])
            live[key] = made

    def result(self) -> CardMemory:
        """The most that was taken."""
        context, most = self._libraries.context
        return CardMemory(
            self.allocator.peak_allocated, self.allocator.peak_reserved, context, most
        )


def replay_resident(
    steps: Sequence[StepTimeline], weights: WeightSizes, profile: DeviceProfile
) -> CardMemory | None:
    """The card's memory in a run with all weights on it; `None` on the CPU.

    Args:
        steps: of the run.
        weights: that it uses.
        profile: of the card.
    """
    if profile.libraries is None:
        return None
    replay = CardReplay(profile.libraries)
    replay.load(weights.tensors)
    has_visited = False
    for step in steps:
        if step.stage is Stage.DENOISING and not has_visited:
            has_visited = True
            replay.play((SCRATCH, weights.largest_hosted))
        if replay.is_new(step):
            for span in step.spans:
                replay.play(span.events)
    return replay.result()
