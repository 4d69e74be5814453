"""What is switched on, for all pipelines that share networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakSet

from torch import Tensor, nn

from dpnb.errors import DpnbError
from dpnb.nn.structure import Structure
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.networks import Lone, Member, Networks
from dpnb.strategies.run_watcher import RunWatcher
from dpnb.strategies.strategy import Plan, Strategy, StrategyError, in_order
from dpnb.strategies.turns import Runs
from dpnb.strategies.undo import Undo

if TYPE_CHECKING:
    from dpnb.strategies.stack import StrategyStack


class BrokenPipelineError(DpnbError, RuntimeError):
    """A strategy could not be switched off, so that the networks are not what they were."""


@dataclass
class Applied:
    """A strategy that is switched on, and how to switch it off.

    Attributes:
        is_whole: whether all of its edits stand; not while they are made or taken back.
    """

    strategy: Strategy
    undo: Undo
    is_whole: bool = False


class Shared:
    """The applied strategies in the order of their slots, and everyone whom they concern.

    Attributes:
        plan: what is meant to be on. `applied` differs from it while a switch takes place, and
            where one was broken off; then `mend` makes them agree.
        merging: held by whoever joins two of these, so that no two threads wait for each other.
    """

    merging: ClassVar[RLock] = RLock()

    def __init__(self) -> None:
        self.networks = Networks()
        self.runs = Runs()
        self.stacks: WeakSet[StrategyStack] = WeakSet()
        self.plan: Plan = frozenset()
        self.applied: list[Applied] = []
        self.timesteps: Tensor | None = None
        self._plain: dict[nn.Module, Structure] = {}

    def structure_of(self, network: nn.Module) -> Structure:
        """What a network is made of when nothing is switched on, whatever is."""
        return self._plain.get(network) or Structure.of(network)

    @property
    def is_running(self) -> bool:
        """Whether a run goes on over the networks."""
        return bool(self.runs.present)

    @property
    def watchers(self) -> list[RunWatcher]:
        """Those among the strategies that want to hear of runs."""
        return [watcher for applied in self.applied for watcher in applied.undo.watchers]

    def use(self, plan: Plan) -> bool:
        """Make exactly `plan` active; if that fails, leave everything as it was.

        Returns:
            Whether that changes anything.
        """
        before = self.plan
        try:
            self.replay(plan)
            self.plan = plan
        finally:
            self.mend()
        return plan != before

    def put(self, plan: Plan) -> None:
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
            self.replay(self.plan)
        except BrokenPipelineError:
            raise
        except Exception:
            self._unwind([applied.strategy for applied in self.applied if applied.is_whole])
            self.plan = frozenset(applied.strategy for applied in self.applied)
            raise

    def replay(self, plan: Plan) -> None:
        """Unwind to the prefix shared with `plan`, then apply what is left of it."""
        target = in_order(plan)
        self._unwind(target)
        if not self.applied:
            networks = [network for _, network in self.networks.named()] if target else []
            self._plain = {network: Structure.of(network) for network in networks}
        for strategy in target[len(self.applied) :]:
            self._apply(strategy)

    def _unwind(self, target: list[Strategy]) -> None:
        kept = 0
        for applied, wanted in zip(self.applied, target, strict=False):
            if applied.strategy != wanted or not applied.is_whole:
                break
            kept += 1
        while len(self.applied) > kept:
            last = self.applied[-1]
            last.is_whole = False
            try:
                last.undo.close()
            except Exception as error:
                raise BrokenPipelineError(
                    f"{last.strategy!r} could not be switched off ({type(error).__name__}: {error})"
                    ", and weights may be missing; nothing is drawn or saved with them. Remove the "
                    "cause and switch it off again, or load the pipeline anew."
                ) from error
            if self.applied and self.applied[-1] is last:
                self.applied.pop()

    def _apply(self, strategy: Strategy) -> None:
        if (reason := strategy.obstacle(self.networks)) is not None:
            raise StrategyError(reason)
        applied = Applied(strategy, Undo())
        self.applied.append(applied)
        strategy.apply(self.networks, applied.undo)
        if self.is_running:
            self.inform(applied.undo.watchers)
        applied.is_whole = True

    def inform(self, watchers: Iterable[RunWatcher]) -> None:
        """Tell `watchers` of the run in whose middle they join."""
        for watcher in watchers:
            watcher.begin()
            if self.timesteps is not None:
                watcher.scheduled(self.timesteps)

    @contextmanager
    def suspended(self) -> Iterator[Plan]:
        """Everything off within, and on again after; other threads wait."""
        with self.networks.turns.taken():
            self.mend()
            before = self.plan
            try:
                self.use(frozenset())
                yield before
            finally:
                self.plan = before
                self.mend()

    def absorb(self, other: Shared) -> None:
        """Take over the members and stacks of `other`; in neither is anything switched on."""
        for member in other.networks.members:
            self.networks.admit(member)
        for stack in list(other.stacks):
            stack.belong(self)
        self.runs.absorb(other.runs)

    def attach(self) -> None:
        """Let every network know of this."""
        for _, network in self.networks.named():
            attachment_of(network).shared = self

    def detach(self) -> None:
        """Let every network forget this."""
        for _, network in self.networks.named():
            attachment_of(network).shared = None


def attached_to(member: Member) -> set[Shared]:
    """The states that the networks of `member` belong to."""
    networks = [part for part in member.parts().values() if isinstance(part, nn.Module)]
    return {shared for network in networks if (shared := attachment_of(network).shared) is not None}


def settle(shared: Shared, member: Member, plan: Plan) -> Shared:
    """Find out with whom `member` shares networks, and switch `plan` on for all of them.

    Args:
        shared: what the member belonged to; nothing is switched on there, and nothing is attached.
        member: a pipeline whose components have changed.
        plan: what was switched on.

    Returns:
        What the member belongs to now.
    """
    shared.networks.admit(member)
    if shared.networks.shares_nothing(member):
        shared.networks.release(member)
        shared.attach()
        shared.put(plan)
        shared = Shared()
        shared.networks.admit(member)
    for other in attached_to(member) - {shared}:
        with other.networks.turns.taken():
            plan |= {s for s in other.plan if all(s.slot != taken.slot for taken in plan)}
            other.put(frozenset())
            shared.absorb(other)
    for lone in [m for m in shared.networks.members if isinstance(m, Lone) and m is not member]:
        if lone.is_part_of(member):
            shared.networks.release(lone)
    shared.attach()
    shared.put(plan)
    return shared
