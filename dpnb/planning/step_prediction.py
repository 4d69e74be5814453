"""Predicts the steps of a run with its weights: all on the device, or offloaded.

Offloading is decided by `dpnb.strategies.offload.engine`, which is replayed here: with a timeline
in place of networks that compute, and over a link that moves nothing and keeps the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import mean

from dpnb.planning.card_memory import CardMemory
from dpnb.planning.card_replay import CardReplay
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.timed_link import TimedLink
from dpnb.planning.timeline import Boundary, Span, StepTimeline
from dpnb.planning.weight_sizes import SizeOnlyNetwork, WeightSizes
from dpnb.run_listener import RunKey
from dpnb.stages import Stage
from dpnb.strategies.fair_lock import FairLock
from dpnb.strategies.offload.engine import OffloadEngine


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


def predict_resident(
    steps: Sequence[StepTimeline], weights: WeightSizes, profile: DeviceProfile
) -> list[StepPrediction]:
    """The steps of a run with all weights on the device."""
    waiting = weights.hosted if profile.is_asynchronous else 0
    visiting = weights.largest_hosted if waiting else 0
    base = weights.resident - waiting
    predictions, is_first = [], True
    for step in steps:
        moved = waiting if step.stage is Stage.DENOISING and is_first else 0
        is_first = is_first and step.stage is not Stage.DENOISING
        waited = moved / profile.link if moved and profile.link else 0.0
        seconds = sum(profile.seconds(span.cost) for span in step.spans) + waited
        predictions.append(
            StepPrediction(base + step.peak + (visiting if moved else 0), seconds, waited, moved)
        )
    return predictions


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """The mean of numbers of which each counts as often as its weight says; without any, once.

    Args:
        values: at least one.
        weights: as many, or none.
    """
    if not weights:
        return mean(values)
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def find_typical(
    predictions: Sequence[StepPrediction], shares: Sequence[float] = ()
) -> StepPrediction:
    """The denoising step that stands for all others of a run.

    Args:
        predictions: of denoising steps.
        shares: where these differ, for how many others each of them stands; their average counts.
    """
    if not predictions:
        return StepPrediction(0, 0.0)
    if not any(shares):
        return predictions[len(predictions) // 2]
    return StepPrediction(
        max(one.peak for one in predictions),
        weighted_mean([one.seconds for one in predictions], shares),
        weighted_mean([one.waited for one in predictions], shares),
        round(weighted_mean([one.moved for one in predictions], shares)),
    )


def find_bound(
    steps: Sequence[StepTimeline], typical: StepPrediction, profile: DeviceProfile
) -> str:
    """What denoising waits for most: `"arithmetic"`, `"memory"`, `"link"` or `"host"`.

    Args:
        steps: of a run.
        typical: the denoising step that stands for all.
        profile: of the device.
    """
    denoising = [step for step in steps if step.stage is Stage.DENOISING] or steps
    cost = denoising[len(denoising) // 2].cost
    parts = {
        "arithmetic": cost.arithmetic,
        "memory": cost.memory,
        "host": cost.calls,
        "link": typical.waited,
    }
    if profile.is_asynchronous and cost.calls < cost.arithmetic + cost.memory:
        del parts["host"]
    return max(parts, key=lambda name: parts[name])


@dataclass
class OffloadReplay:
    """A simulated run whose weights the offload engine brings to the device.

    Args:
        weights: that it brings.
        limit: bytes of them on the device.
        profile: of the device.

    Attributes:
        link: that brings them, and keeps the time.
    """

    weights: WeightSizes
    limit: int
    profile: DeviceProfile
    link: TimedLink = field(init=False)
    _card: CardReplay | None = field(init=False)
    _engine: OffloadEngine = field(init=False)
    _networks: Mapping[str, SizeOnlyNetwork] = field(init=False)
    _calls: list[ExitStack] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        for network in self.weights.networks:
            network.forget()
        libraries = self.profile.libraries
        self._card = None if libraries is None else CardReplay(libraries)
        if self._card is not None:
            self._card.load(self.weights.kept_tensors)
        self.link = TimedLink(self.profile, self._card)
        self._engine = OffloadEngine(self.link, list(self.weights.networks), self.limit, FairLock())
        self._networks = {network.name: network for network in self.weights.networks}

    def run(self, steps: Sequence[StepTimeline]) -> list[StepPrediction]:
        """Predict the steps; denoising ends with the last of its steps here."""
        total = sum(step.stage is Stage.DENOISING for step in steps)
        predictions, index = [], 0
        run = RunKey()
        self._engine.begin_run(run)
        for step in steps:
            if step.stage is Stage.DENOISING:
                self._engine.before_step(run, index, total)
                index += 1
            predictions.append(self._predict_step(step))
        self._engine.end_run(run, None)
        return predictions

    @property
    def memory(self) -> CardMemory | None:
        """The most that the run has taken of a card; `None` on the CPU."""
        return None if self._card is None else self._card.result()

    def _predict_step(self, step: StepTimeline) -> StepPrediction:
        link, engine = self.link, self._engine
        started, waited, moved = link.now, link.waited, link.moved
        peak = 0
        card = self._card if self._card is not None and self._card.is_new(step) else None
        for span in step.spans:
            if card is not None:
                card.play(span.events)
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
