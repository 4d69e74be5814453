"""What is switched on, for all pipelines that share networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

from torch import Tensor, nn

from dpnb.nn.structure import Structure
from dpnb.strategies.host import Host, Lone, Member
from dpnb.strategies.strategy import Plan, Strategy, StrategyError, in_order
from dpnb.strategies.tie import tie_of
from dpnb.strategies.undo import RunWatcher, Undo

if TYPE_CHECKING:
    from dpnb.strategies.stack import StrategyStack


@dataclass
class Applied:
    """A strategy that is switched on, and how to switch it off."""

    strategy: Strategy
    undo: Undo


class Shared:
    """The applied strategies in the order of their slots, and everyone whom they concern."""

    def __init__(self) -> None:
        self.host = Host()
        self.stacks: WeakSet[StrategyStack] = WeakSet()
        self.applied: list[Applied] = []
        self.is_running = False
        self.timesteps: Tensor | None = None
        self._plain: dict[nn.Module, Structure] = {}

    def structure_of(self, network: nn.Module) -> Structure:
        """What a network is made of when nothing is switched on, whatever is."""
        return self._plain.get(network) or Structure.of(network)

    @property
    def plan(self) -> Plan:
        """What is switched on."""
        return frozenset(applied.strategy for applied in self.applied)

    @property
    def watchers(self) -> list[RunWatcher]:
        """Those among the strategies that want to hear of runs."""
        return [watcher for applied in self.applied for watcher in applied.undo.watchers]

    def use(self, plan: Iterable[Strategy]) -> None:
        """Make exactly `plan` active; if that fails, leave everything as it was."""
        target, before = in_order(plan), in_order(self.plan)
        if target == before:
            return
        try:
            self.replay(target)
        except BaseException:
            self.replay(before)
            raise
        for stack in list(self.stacks):
            stack.notify()

    def replay(self, target: list[Strategy]) -> None:
        """Unwind to the prefix shared with `target`, then apply what is left of it."""
        if target and not self.applied:
            self._plain = {network: Structure.of(network) for _, network in self.host.networks()}
        kept = 0
        for applied, wanted in zip(self.applied, target, strict=False):
            if applied.strategy != wanted:
                break
            kept += 1
        while len(self.applied) > kept:
            self.applied.pop().undo.close()
        if not target:
            self._plain = {}
        for strategy in target[kept:]:
            self._apply(strategy)

    def _apply(self, strategy: Strategy) -> None:
        if (reason := strategy.obstacle(self.host)) is not None:
            raise StrategyError(reason)
        undo = Undo()
        try:
            strategy.apply(self.host, undo)
        except BaseException:
            undo.close()
            raise
        self.applied.append(Applied(strategy, undo))
        if self.is_running:
            self.inform(undo.watchers)

    def inform(self, watchers: Iterable[RunWatcher]) -> None:
        """Tell `watchers` of the run in whose middle they join."""
        for watcher in watchers:
            watcher.begin()
            if self.timesteps is not None:
                watcher.scheduled(self.timesteps)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Everything off within, and on again after."""
        before = in_order(self.plan)
        self.replay([])
        try:
            yield
        finally:
            self.replay(before)

    def absorb(self, other: Shared) -> None:
        """Take over the members and stacks of `other`; in neither is anything switched on."""
        for member in other.host.members:
            self.host.admit(member)
        for stack in list(other.stacks):
            stack.belong(self)
        self.is_running |= other.is_running

    def tie(self) -> None:
        """Let every network know of this."""
        for _, network in self.host.networks():
            tie_of(network).shared = self

    def untie(self) -> None:
        """Let every network forget this."""
        for _, network in self.host.networks():
            tie_of(network).shared = None


def tied_to(member: Member) -> set[Shared]:
    """The states that the networks of `member` belong to."""
    networks = [part for part in member.parts().values() if isinstance(part, nn.Module)]
    return {shared for network in networks if (shared := tie_of(network).shared) is not None}


def settle(shared: Shared, member: Member, plan: Plan) -> Shared:
    """Find out with whom `member` shares networks, and switch `plan` on for all of them.

    Args:
        shared: what the member belonged to; nothing is switched on there, and it is tied to none.
        member: a pipeline whose components have changed.
        plan: what was switched on.

    Returns:
        What the member belongs to now.
    """
    shared.host.admit(member)
    if shared.host.shares_nothing(member):
        shared.host.release(member)
        shared.tie()
        shared.replay(in_order(plan))
        shared = Shared()
        shared.host.admit(member)
    for other in tied_to(member) - {shared}:
        plan |= {s for s in other.plan if all(s.slot != taken.slot for taken in plan)}
        other.replay([])
        shared.absorb(other)
    for lone in [m for m in shared.host.members if isinstance(m, Lone) and m is not member]:
        if lone.is_part_of(member):
            shared.host.release(lone)
    shared.tie()
    shared.replay(in_order(plan))
    return shared
