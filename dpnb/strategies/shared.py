"""What is switched on, for all pipelines that share networks: the one place that says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import ClassVar, Protocol
from weakref import WeakSet

import torch
from torch import Tensor, nn

from dpnb.errors import DpnbError
from dpnb.nn.compiled import forget_graphs
from dpnb.nn.structure import Structure
from dpnb.run_listener import RunKey, RunListener
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.exchange import exchanges_for
from dpnb.strategies.networks import LoneNetwork, Networks, Owner, networks_of
from dpnb.strategies.plain_weights import keep_plain
from dpnb.strategies.runs import ActiveRuns
from dpnb.strategies.strategy import Plan, Slot, Strategy, in_order
from dpnb.strategies.undo import Undo


class Sharer(Protocol):
    """The stack of one pipeline, as far as those that share networks with it know it."""

    def join(self, shared: SharedStrategies) -> None:
        """Share what is switched on with everyone in `shared`."""
        ...

    def notify(self) -> None:
        """Tell the listeners what is switched on."""
        ...


class BrokenPipelineError(DpnbError, RuntimeError):
    """A strategy could not be switched off, so that the networks are not what they were."""


@dataclass
class _Applied:
    """A strategy that is switched on, and how to switch it off.

    Attributes:
        is_whole: whether all of its edits stand; not while they are made or taken back.
    """

    strategy: Strategy
    undo: Undo
    is_whole: bool = False


class SharedStrategies:
    """The strategies that are on at some networks, in the order of their slots.

    Attributes:
        networks: what strategies act on.
        plan: what is meant to be on. What is applied differs from it while a switch takes place,
            and where one was broken off; then `mend` makes them agree.
        stacks: those of the pipelines that share the networks.
        runs: those that go on over the networks.
        run: the present one; between runs, one that never was.
        timesteps: of the present run, `[steps]`, once they are known.
        joining: held by whoever joins two of these, so that no two threads wait for each other.
    """

    joining: ClassVar[RLock] = RLock()

    def __init__(self) -> None:
        self.networks = Networks()
        self.plan: Plan = frozenset()
        self.stacks: WeakSet[Sharer] = WeakSet()
        self.runs = ActiveRuns()
        self.run = RunKey()
        self.timesteps: Tensor | None = None
        self._applied: list[_Applied] = []
        self._structures: dict[nn.Module, Structure] = {}

    @property
    def applied(self) -> tuple[Strategy, ...]:
        """The strategies whose edits stand, or stand in part, in the order of their slots."""
        return tuple(applied.strategy for applied in self._applied)

    def structure_of(self, network: nn.Module) -> Structure:
        """What a network is made of when nothing is switched on, whatever is."""
        return self._structures.get(network) or Structure.of(network)

    @property
    def is_running(self) -> bool:
        """Whether a run goes on over the networks."""
        return bool(self.runs.active)

    @property
    def is_in_run(self) -> bool:
        """Whether this thread computes a run over the networks."""
        return self.is_running and self.networks.lock.is_mine

    @property
    def watchers(self) -> list[RunListener[RunKey]]:
        """Those among the strategies that want to hear of runs."""
        return [watcher for applied in self._applied for watcher in applied.undo.watchers]

    # --- switching ---

    def use(self, plan: Plan) -> bool:
        """Make exactly `plan` active; if that fails, leave everything as it was.

        Returns:
            Whether that changes anything.
        """
        before = self.plan
        try:
            self._replay(plan)
            self.plan = plan
        finally:
            self.mend()
        return plan != before

    def use_or_clear(self, plan: Plan) -> None:
        """Make exactly `plan` active; if that fails, nothing is on."""
        self.plan = plan
        try:
            self.mend()
        except Exception:
            self.plan = frozenset()
            self.mend()
            raise

    def mend(self) -> None:
        """Let what is applied be the plan again, whatever has come in between.

        Raises:
            BrokenPipelineError: that cannot be done.
        """
        try:
            self._replay(self.plan)
        except BrokenPipelineError:
            raise
        except Exception:
            self._unwind([applied.strategy for applied in self._applied if applied.is_whole])
            self.plan = frozenset(s for s in self.applied if s.slot is not Slot.NETWORK)
            raise

    @contextmanager
    def suspended(self) -> Iterator[Plan]:
        """Everything off within, and on again after; other threads wait."""
        with self.networks.lock.hold():
            self.mend()
            before = self.plan
            try:
                self.use(frozenset())
                yield before
            finally:
                self.plan = before
                self.mend()

    def _replay(self, plan: Plan) -> None:
        """Unwind to the prefix shared with `plan`, then apply what is left of it."""
        before = self.applied
        try:
            with _outside_inference_mode():
                self._replay_outside(plan)
        finally:
            if self.applied != before:
                forget_graphs(network for _, network in self.networks.items())

    def _replay_outside(self, plan: Plan) -> None:
        target = in_order(plan)
        target = exchanges_for(target, self.networks) + target
        self._unwind(target)
        if not self._applied:
            self._structures = {}
        for strategy in target[len(self._applied) :]:
            self._note_structures()
            self._apply(strategy)

    def _note_structures(self) -> None:
        """Remember what networks are made of that no strategy has changed yet."""
        if all(applied.slot is Slot.NETWORK for applied in self.applied):
            for _, network in self.networks.items():
                if network not in self._structures:
                    self._structures[network] = Structure.of(network)

    def _unwind(self, target: list[Strategy]) -> None:
        kept = 0
        for applied, wanted in zip(self._applied, target, strict=False):
            if applied.strategy != wanted or not applied.is_whole:
                break
            kept += 1
        while len(self._applied) > kept:
            last = self._applied[-1]
            last.is_whole = False
            try:
                last.undo.close()
            except Exception as error:
                raise BrokenPipelineError(
                    f"{last.strategy!r} could not be switched off ({type(error).__name__}: {error})"
                    ", and weights may be missing; nothing is drawn or saved with them. Remove the "
                    "cause and switch it off again, or load the pipeline anew."
                ) from error
            if self._applied and self._applied[-1] is last:
                self._applied.pop()

    def _apply(self, strategy: Strategy) -> None:
        if (reason := strategy.obstacle(self.networks)) is not None:
            raise strategy.refusal(reason)
        applied = _Applied(strategy, Undo())
        is_plain_before = all(one.slot is Slot.NETWORK for one in self.applied)
        self._applied.append(applied)
        if is_plain_before and strategy.slot is not Slot.NETWORK:
            keep_plain((network for _, network in self.networks.items()), applied.undo)
        strategy.apply(self.networks, applied.undo)
        if self.is_running:
            self.announce_run(applied.undo.watchers)
        applied.is_whole = True

    def announce_run(self, watchers: Iterable[RunListener[RunKey]]) -> None:
        """Tell `watchers` of the run in whose middle they join."""
        for watcher in watchers:
            watcher.begin_run(self.run)
            if self.timesteps is not None:
                watcher.set_timesteps(self.run, self.timesteps)

    # --- sharing ---

    def release(self) -> Plan:
        """Switch everything off and let the networks forget this: their owners will change.

        Returns:
            What was on.
        """
        plan = self.plan
        self.use_or_clear(frozenset())
        self._attach(None)
        return plan

    def rejoin(self, owner: Owner, plan: Plan) -> SharedStrategies:
        """Find out with whom `owner` shares networks now, and switch `plan` on for all of them.

        Args:
            owner: a pipeline whose components have changed since `release`.
            plan: what was on.

        Returns:
            What the owner belongs to from now on.
        """
        shared = self._part_from(owner, plan)
        for other in _attached_to(owner) - {shared}:
            with other.networks.lock.hold():
                plan |= {s for s in other.plan if all(s.slot != taken.slot for taken in plan)}
                other.use_or_clear(frozenset())
                shared._absorb(other)
        for lone in [o for o in shared.networks.owners if isinstance(o, LoneNetwork)]:
            if lone is not owner and lone.is_part_of(owner):
                shared.networks.release(lone)
        shared._attach(shared)
        has_networks = next(shared.networks.items(), None) is not None
        shared.use_or_clear(plan if has_networks else frozenset())
        return shared

    def _part_from(self, owner: Owner, plan: Plan) -> SharedStrategies:
        """Where `owner` belongs: here, or alone if it shares no network with the others here."""
        self.networks.admit(owner)
        if not self.networks.shares_nothing(owner):
            return self
        self.networks.release(owner)
        self._attach(self)
        self.use_or_clear(plan)
        apart = SharedStrategies()
        apart.networks.admit(owner)
        return apart

    def _absorb(self, other: SharedStrategies) -> None:
        """Take over the owners and stacks of `other`; in neither is anything switched on."""
        for owner in other.networks.owners:
            self.networks.admit(owner)
        for stack in list(other.stacks):
            stack.join(self)
        self.runs.absorb(other.runs)

    def _attach(self, shared: SharedStrategies | None) -> None:
        for _, network in self.networks.items():
            attachment_of(network).shared = shared


@contextmanager
def _outside_inference_mode() -> Iterator[None]:
    """What is made within outlives the run, and is to be of use when gradients are recorded."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(mode=False), torch.no_grad():
        yield


def _attached_to(owner: Owner) -> set[SharedStrategies]:
    """Those that the networks of `owner` belong to."""
    found = (attachment_of(network).shared for _, network in networks_of(owner))
    return {shared for shared in found if isinstance(shared, SharedStrategies)}
