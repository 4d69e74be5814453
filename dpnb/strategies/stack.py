"""Which strategies are switched on at a pipeline: where that is asked and changed.

A stack is a pipeline's own. What is on is told by the `SharedStrategies` of all pipelines that use
the same `Networks`; a network carries an `Attachment`, by which they are found from it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from dpnb.errors import StrategyError
from dpnb.nn.structure import Structure
from dpnb.run_listener import RunKey
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.networks import LoneNetwork, Networks, Owner
from dpnb.strategies.runs import ExclusiveCall, ExclusiveRun
from dpnb.strategies.shared import SharedStrategies, Sharer
from dpnb.strategies.strategy import Plan, Slot, Strategy, check, read_plan

Listener: TypeAlias = Callable[[Plan], None]
S = TypeVar("S", bound=Strategy)
T = TypeVar("T")


WAITING = frozenset({Slot.PRECISION, Slot.STORAGE, Slot.WEIGHTS, Slot.QUANTIZATION})
"""Where strategies act that keep weights, to bring them back to where these were."""


class StrategyStack:
    """The strategies of one pipeline.

    Pipelines that share a network share what is switched on: two of them can never disagree about
    a network that both use. Any thread may switch: between two steps of a run, for which it waits.
    Pipelines that share a network run one after the other.

    Args:
        owner: the pipeline; what is on already at networks that it shares stays on.
    """

    def __init__(self, owner: Owner) -> None:
        self._listeners: list[Listener] = []
        self._end: str | None = None
        # Owners are held weakly, and nobody else holds this kind.
        self._lone = owner if isinstance(owner, LoneNetwork) else None
        self._shared = SharedStrategies()
        self.join(self._shared.rejoin(owner, frozenset()))

    @property
    def active(self) -> Plan:
        """What is switched on."""
        return self._shared.plan

    @property
    def networks(self) -> Networks:
        """The networks that strategies are applied to."""
        return self._shared.networks

    @property
    def is_running(self) -> bool:
        """Whether a pipeline that shares this state is in the middle of a run."""
        return self._shared.is_running

    @property
    def reused_share(self) -> float | None:
        """Of the network's calls in the present step, those that have reused something of a former.

        From 0 to 1; `None` where nothing is on that reuses anything.
        """
        count = self.networks.reuse_count
        return None if count is None else count.share

    def structure_of(self, network: nn.Module) -> Structure:
        """What a network is made of when nothing is switched on, whatever is."""
        return self._shared.structure_of(network)

    def use(self, plan: Strategy | Iterable[Strategy]) -> None:
        """Make exactly the strategies of `plan`, or one by itself, active, or change nothing.

        Raises:
            StrategyError: two of them contradict each other, or one cannot be switched on here.
            BrokenPipelineError: one could not be switched off.
        """
        wanted = read_plan(plan)
        self._change(lambda _: wanted)

    def enable(self, strategy: Strategy) -> None:
        """Switch `strategy` on, in place of any other that decides the same thing.

        Raises:
            StrategyError: it cannot be switched on here; nothing has changed then.
        """
        check([strategy])
        self._change(lambda plan: {s for s in plan if s.slot != strategy.slot} | {strategy})

    def disable(self, kind: type[Strategy] | Strategy) -> None:
        """Switch off the strategy of this class, or of the class of this one; none need be on."""
        unwanted = _class_of(kind)
        self._change(lambda plan: {s for s in plan if not isinstance(s, unwanted)})

    def _change(self, change: Callable[[Plan], Iterable[Strategy]]) -> None:
        stacks: list[Sharer] = []
        try:
            with self._turn() as shared:
                before = shared.plan
                try:
                    wanted = frozenset(change(before))
                    if wanted and self._end is not None:
                        raise StrategyError(self._end)
                    shared.use(wanted)
                finally:
                    stacks = list(shared.stacks) if shared.plan != before else []
        finally:
            for stack in stacks:
                stack.notify()

    @contextmanager
    def _turn(self) -> Iterator[SharedStrategies]:
        """What is shared, which no other thread uses or changes within."""
        while True:
            shared = self._shared
            with shared.networks.lock.hold():
                if shared is self._shared:
                    yield shared
                    return

    def find(self, kind: type[S]) -> S | None:
        """The active strategy of this class."""
        return next((s for s in self.active if isinstance(s, kind)), None)

    def obstacle(self, strategy: Strategy) -> str | None:
        """Why `strategy` cannot be switched on here, as a sentence; `None` where it can."""
        check([strategy])
        return self._end or strategy.obstacle(self.networks)

    def retire(self, reason: str) -> None:
        """Let nothing be switched on here from now on.

        Args:
            reason: why not, as a sentence.
        """
        self._end = reason

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the active strategies have to say of their work so far, as sentences."""
        said = (watcher.remark for watcher in self._shared.watchers)
        return tuple(remark for remark in said if remark)

    @contextmanager
    def using(self, *plan: Strategy) -> Iterator[None]:
        """Exactly these strategies within, and the former ones after."""
        before = self.active
        self.use(plan)
        try:
            yield
        finally:
            self.use(before)

    @contextmanager
    def suspended(self) -> Iterator[Plan]:
        """Nothing switched on within, and everything on again after. Listeners hear nothing.

        Other threads wait. What is given is the plan that comes back.

        Raises:
            BrokenPipelineError: a strategy could not be switched off.
        """
        with self._turn() as shared, shared.suspended() as plan:
            yield plan

    def move_after_offload(self, moved: Iterable[nn.Module], device: torch.device) -> bool:
        """Let `moved` be on `device` once offloading is switched off; nothing moves now.

        Returns:
            Whether that is so: not where no offloading is on, where it concerns other networks as
            well or not all of these, or where weights wait for the end of another strategy.
        """
        with self._turn() as shared:
            networks, slots = shared.networks, {strategy.slot for strategy in shared.plan}
            known = {id(network) for _, network in networks.items()}
            is_whole = known == set(map(id, moved)) and len(networks.streamed) == len(known)
            others_wait = bool(slots & WAITING)
            if networks.link is None or not is_whole or others_wait or device.type == "meta":
                return False
            for weights in (*networks.streamed, *networks.hosted):
                weights.set_original_device(device)
            return True

    @contextmanager
    def change_components(self, owner: Owner) -> Iterator[None]:
        """The components of `owner` change within; nothing is switched on meanwhile.

        Raises:
            StrategyError: what was switched on cannot serve the new components; nothing is on then.
        """
        before = self.active
        try:
            with SharedStrategies.joining, self._turn() as shared:
                plan = shared.release()
                try:
                    yield
                finally:
                    self.join(shared.rejoin(owner, plan))
        finally:
            if self.active != before:
                self.notify()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with the plan after every change; what is returned stops that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def execution_device(self) -> torch.device:
        """Where a run computes: where a placement brings the networks, else where they are."""
        return self.placement_device or self.networks.device

    @property
    def placement_device(self) -> torch.device | None:
        """Where a placement brings the networks; `None` where none is on."""
        devices = (strategy.execution_device(self.networks) for strategy in self.active)
        return next((device for device in devices if device is not None), None)

    def notify(self) -> None:
        """Tell the listeners what is switched on."""
        for listener in list(self._listeners):
            listener(self.active)

    def join(self, shared: SharedStrategies) -> None:
        """Share what is switched on with everyone in `shared`."""
        self._shared.stacks.discard(self)
        self._shared = shared
        shared.stacks.add(self)

    def one_at_a_time(
        self, scheduler: object, steps: Generator[T, None, None]
    ) -> Generator[T, None, None]:
        """`steps` of a run, while no other goes on over the same networks or by `scheduler`.

        While a step is computed nobody else uses or changes the networks; between two anybody may.

        Raises:
            RunError: another run is in the way, and does not end before this one begins.
        """
        shared = self._shared
        run = ExclusiveRun(steps, lambda: self.networks.lock)
        by_scheduler = attachment_of(scheduler).runs
        with (
            shared.runs.admit(run, may_nest=not shared.watchers),
            by_scheduler.admit(run, may_nest=False),
        ):
            try:
                while (step := run.compute_step()) is not None:
                    yield step
            finally:
                run.give_up()

    @contextmanager
    def exclusive_call(
        self,
        schedulers: Iterable[object],
        end: Callable[[], None],
        asker: Callable[[], int] = get_ident,
    ) -> Iterator[ExclusiveCall]:
        """The present thread computes a run within, while no other goes on over these networks.

        Args:
            schedulers: that it uses; none of them leads another run meanwhile.
            end: ends the run where it pauses, once nobody waits for its next step any more.
            asker: the thread that asks for its next step, or has done so last.

        Raises:
            RunError: another run is in the way, and does not end before this one begins.
        """
        shared = self._shared
        call = ExclusiveCall(lambda: self.networks.lock, end, asker)
        with ExitStack() as admitted:
            admitted.enter_context(shared.runs.admit(call, may_nest=not shared.watchers))
            for scheduler in schedulers:
                by_scheduler = attachment_of(scheduler).runs
                admitted.enter_context(by_scheduler.admit(call, may_nest=False))
            admitted.enter_context(call.compute())
            yield call

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Whoever waits may use or change the networks within, in the middle of a run's step."""
        with self.networks.lock.lend():
            yield

    @contextmanager
    def begin_run(self, run: RunKey | None = None) -> Iterator[None]:
        """A run takes place within; nothing that it needed stays behind.

        Args:
            run: what tells it from others, to those who hear of it; a new key by default.

        Raises:
            BrokenPipelineError: a strategy could not be switched off before.
        """
        self._shared.mend()
        run = run or RunKey()
        around = self._shared.run, self._shared.timesteps
        with ExitStack() as ending:
            ending.push(lambda _, error, __: self._end_run(run, error, *around))
            self._shared.run, self._shared.timesteps = run, None
            for watcher in self._shared.watchers:
                watcher.begin_run(run)
            yield

    def set_timesteps(self, timesteps: Tensor) -> None:
        """The run's steps are `timesteps`, `[steps]`."""
        self._shared.timesteps = timesteps
        for watcher in self._shared.watchers:
            watcher.set_timesteps(self._shared.run, timesteps)

    def before_step(self, index: int, total: int) -> None:
        """Denoising step `index` of `total` comes next."""
        for watcher in self._shared.watchers:
            watcher.before_step(self._shared.run, index, total)

    def after_steps(self) -> None:
        """The last denoising step is done."""
        for watcher in self._shared.watchers:
            watcher.after_steps(self._shared.run)

    def free_run_memory(self) -> None:
        """Free what strategies keep from step to step; for them, a run that goes on begins anew."""
        self._end_watchers(self._shared.run, None, goes_on=self.is_running)

    def _end_run(
        self, run: RunKey, error: BaseException | None, around: RunKey, timesteps: Tensor | None
    ) -> None:
        self._shared.run, self._shared.timesteps = around, timesteps
        self._end_watchers(run, error, goes_on=len(self._shared.runs.active) > 1)

    def _end_watchers(self, run: RunKey, error: BaseException | None, *, goes_on: bool) -> None:
        with self._turn() as shared:
            for watcher in reversed(shared.watchers):
                watcher.end_run(run, error)
            if goes_on:
                shared.announce_run(shared.watchers)


def _class_of(kind: object) -> type[Strategy]:
    found = kind if isinstance(kind, type) else type(kind)
    if issubclass(found, Strategy):
        return found
    raise TypeError(f"{kind!r} is not a strategy; name the class of one, such as TokenMerging.")


def stack_of(network: nn.Module, name: str) -> StrategyStack:
    """The strategies of a network that may or may not belong to a pipeline.

    Args:
        network: the network.
        name: of the component that it would be in a pipeline.
    """
    attachment = attachment_of(network)
    with SharedStrategies.joining:
        shared = attachment.shared
        stacks = shared.stacks if isinstance(shared, SharedStrategies) else ()
        for known in stacks:
            if isinstance(known, StrategyStack):
                return known
        attachment.stack = stack = StrategyStack(LoneNetwork(name, network))
        return stack
