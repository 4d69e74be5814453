"""Guidance by the prompt in a part of the run alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import nn
from typing_extensions import Self, override

from dpnb.numbers import parse_number
from dpnb.run_listener import RunKey, RunListener
from dpnb.strategies.doubled_calls import halve_calls
from dpnb.strategies.networks import Networks, Owner
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo

NOTHING_TO_HALVE = (
    "GuidanceInterval needs a pipeline that shows its network every latent twice in one call, "
    "without the prompt and then with it; there is none here."
)


@runtime_checkable
class SteeredOwner(Owner, Protocol):
    """An owner whose runs are steered by a value that it holds."""

    guidance: Any

    def guidance_within(self, span: GuidedSpan) -> Any | None:
        """Its guidance while `span` is open; `None` where nothing is seen twice."""
        ...


@runtime_checkable
class DoublingOwner(Owner, Protocol):
    """An owner whose own code shows a network every latent twice, first without the prompt."""

    def doubled_networks(self) -> Iterator[nn.Module]:
        """The networks whose calls it doubles."""
        ...

    def is_guided(self) -> bool:
        """Whether it does so in the present run; outside of one nobody may know."""
        ...


@dataclass(frozen=True, repr=False)
class GuidanceInterval(Strategy):
    """Let the prompt lead away from none only in the middle of a run; other steps cost half.

    Kynkäänniemi et al. (2024), Applying Guidance in a Limited Interval Improves Sample and
    Distribution Quality in Diffusion Models, arXiv:2404.07724. Its authors name noise levels; here
    the bounds are shares of the run's steps, which every scheduler has, and `between_sigmas`
    converts. Outside of it the network sees every latent with the prompt alone. A
    step is in it where its middle is; where a run has so few steps that none is, `remarks` of the
    pipeline's strategies say so. Of a picture that is changed with a strength below 1, the run is
    the part of the schedule that is left.

    Args:
        start: of the interval: the share of the run's steps that is done when guidance begins.
        end: likewise where it ends. From 0 to 1 it is always on.
    """

    start: float = field(default=0.3, metadata=hints("from", low=0, high=1, step=0.05))
    end: float = field(default=0.7, metadata=hints("to", low=0, high=1, step=0.05))
    slot: ClassVar = Slot.GUIDANCE_SPAN
    presets: ClassVar = {"sdxl": "Stable Diffusion XL"}

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("start", "end"):
            parse_number(name, getattr(self, name), least=0, most=1)
        if self.start >= self.end:
            raise ValueError(
                f"There is nothing from {self.start:g} to {self.end:g}; start must be below end, "
                "as in 0.3 to 0.7."
            )

    @classmethod
    def sdxl(cls) -> Self:
        """What its authors use with Stable Diffusion XL: noise levels from 5.42 down to 0.28."""
        return cls(0.2, 0.9)

    @classmethod
    def between_sigmas(cls, low: float, high: float, scheduler: Any) -> Self:
        """The interval of the steps whose noise levels are above `low`, and `high` at most.

        Args:
            low: a noise level of the scheduler's own, as its `sigmas` are.
            high: likewise.
            scheduler: its timesteps are set.

        Raises:
            TypeError: it is no scheduler, or a noise level no number.
            ValueError: it has no noise levels, or no step between these.
        """
        for name, level in (("low", low), ("high", high)):
            parse_number(name, level)
        if "__dict__" not in dir(scheduler) or vars(scheduler).get("timesteps") is None:
            raise TypeError(
                f"scheduler is {type(scheduler).__name__}, without timesteps; give a scheduler, "
                "after a call of its set_timesteps."
            )
        sigmas = [float(sigma) for sigma in vars(scheduler).get("sigmas", ())]
        levels = sigmas[: len(scheduler.timesteps)]
        places = [place for place, sigma in enumerate(levels) if low < sigma <= high]
        if not places:
            raise ValueError(
                f"{type(scheduler).__name__} makes no step at a noise level above {low:g} and at "
                f"most {high:g}; its levels are {_range_of(levels)}."
            )
        return cls(places[0] / len(levels), (places[-1] + 1) / len(levels))

    @property
    @override
    def effect(self) -> Effect:
        is_whole = self.start == 0 and self.end == 1
        return Effect.EXACT if is_whole else Effect.STYLISTIC

    @override
    def obstacle(self, networks: Networks) -> str | None:
        span = GuidedSpan(self)
        is_doubled = next(_doubled(networks), None) is not None
        is_steered = next(_guidances(networks, span), None) is not None
        return None if is_steered or is_doubled else NOTHING_TO_HALVE

    @override
    def step_kinds(self, networks: Networks, total: int) -> tuple[Hashable, ...] | None:
        return tuple(self.guides(index, total) for index in range(total))

    def guides(self, index: int, total: int) -> bool:
        """Whether the middle of step `index` of `total`, from 0, is in the interval."""
        return self.start <= (index + 0.5) / total < self.end

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Follow every run, and let its network see one half outside of the interval."""
        span = GuidedSpan(self)
        undo.watch(span)
        for owner, guidance in _guidances(networks, span):
            undo.set_own(owner, "guidance", guidance)
        for doubling, network in _doubled(networks):
            halve_calls(network, partial(span.closes, doubling, network), undo)


@runtime_checkable
class OwnersRun(Protocol):
    """A run of which it is known whose it is."""

    @property
    def pipe(self) -> object:
        """The owner of the networks that runs."""
        ...


class GuidedSpan(RunListener[RunKey]):
    """Follows the present run, and says whether the prompt steers it.

    Args:
        interval: where it does.
    """

    def __init__(self, interval: GuidanceInterval) -> None:
        self._interval = interval
        self._index = self._total = 0
        self._steps = self._unsteered = 0
        self._is_steered = False
        self._owner: object | None = None
        self._entries: dict[nn.Module, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether the middle of the present step is in the interval; outside of runs always."""
        return not self._total or self._interval.guides(self._index, self._total)

    @property
    @override
    def remark(self) -> str:
        """What there is to say where no step of the last run was steered."""
        if not self._unsteered:
            return ""
        start, end = self._interval.start, self._interval.end
        return (
            f"The prompt has steered none of the {self._unsteered} steps of the last run: the "
            f"middle of none is from {start:g} to {end:g} of it; widen the interval, or draw in "
            "more steps."
        )

    def closes(self, owner: DoublingOwner, network: nn.Module, entries: int) -> bool:
        """Whether the first half of what a network is shown now is of no use.

        A call of fewer entries than the run's first guided one is not doubled.

        Args:
            owner: whose code shows it.
            network: the network.
            entries: what it is shown at once.
        """
        if self._owner is not owner or not owner.is_guided() or entries % 2:
            return False
        return self._entries.setdefault(network, entries) == entries and not self.is_open

    @override
    def begin_run(self, run: RunKey) -> None:
        """Nothing is known of it yet."""
        self._index = self._total = 0
        self._steps = self._unsteered = 0
        self._is_steered = False
        self._owner = run.pipe if isinstance(run, OwnersRun) else None
        self._entries.clear()

    @override
    def before_step(self, run: RunKey, index: int, total: int) -> None:
        """The next call of the network belongs to step `index`."""
        self._index, self._total = index, total
        self._is_steered = self._is_steered or self.is_open
        self._steps += 1

    @override
    def end_run(self, run: RunKey, error: BaseException | None) -> None:
        """Forget it, but for whether any step of it was steered."""
        if error is None and not self._is_steered and self._steps == self._total:
            self._unsteered = self._steps
        self._index = self._total = 0
        self._owner = None
        self._entries.clear()


def _guidances(networks: Networks, span: GuidedSpan) -> Iterator[tuple[SteeredOwner, Any]]:
    for owner in networks.owners:
        if isinstance(owner, SteeredOwner):
            guidance = owner.guidance_within(span)
            if guidance is not None:
                yield owner, guidance


def _doubled(networks: Networks) -> Iterator[tuple[DoublingOwner, nn.Module]]:
    for owner in networks.owners:
        if isinstance(owner, DoublingOwner):
            for network in owner.doubled_networks():
                yield owner, network


def _range_of(levels: list[float]) -> str:
    return f"from {min(levels):g} to {max(levels):g}" if levels else "not known"
