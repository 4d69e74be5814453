"""One run of an attached pipeline: what is heard of it, told as stages and steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Protocol

from torch import Tensor

from dpnb.errors import DpnbError
from dpnb.pipelines.attached.hearing import latents_of
from dpnb.pipelines.listeners import Run, call_end_run
from dpnb.run_listener import Foresee
from dpnb.stages import Stage, Step
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.runs import ExclusiveCall
from dpnb.strategies.stack import StrategyStack

COUNT = "_num_timesteps"
"""Where pipelines keep how many steps of denoising their present run has."""


def ignore(*_: object) -> None:
    """Nothing to do."""


@dataclass(frozen=True)
class Caller:
    """Who asks for a run.

    Args:
        on_step: is given its steps, while it pauses; `None` where nobody asks for them.
        leave: ends it where it pauses.
        asker: the thread that asks for its next step; the run's own by default.
    """

    on_step: Callable[[Step], None] | None = None
    leave: Callable[[], None] = ignore
    asker: Callable[[], int] = get_ident


def is_led_here(scheduler: object) -> bool:
    """Whether this thread is in the middle of a step of a run that `scheduler` leads."""
    runs = attachment_of(scheduler).runs.active
    return any(run.is_computing and run.thread == get_ident() for run in runs)


class AttachError(DpnbError, TypeError):
    """Something cannot be attached, or not be detached now; the message says what to do."""


class InterruptedRunError(DpnbError, RuntimeError):
    """A run was told to end, of a pipeline that has no way to end early with what it has."""


class RunOwner(Protocol):
    """An attached pipeline, as its run sees it."""

    pipe: Any

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on."""
        ...

    @property
    def interrupt(self) -> bool:
        """Whether the run has been told to end."""
        ...

    @property
    def ends_early(self) -> bool:
        """Whether its own code looks at being told to."""
        ...


@contextmanager
def notify_run(run: Run) -> Iterator[None]:
    """A run takes place within: its listeners hear of its beginning and its end."""
    with ExitStack() as endings:
        for listener in run.listeners:
            listener.begin_run(run)
            endings.push(call_end_run(listener, run))
        yield


class AttachedRun:
    """Follows one run, and calls listeners between its steps, in its thread.

    A step of denoising ends when a scheduler has made one after the network was called; further
    steps of schedulers before the network's next call belong to it. There, and where a schedule is
    made after words were read, the run pauses, and anything may be switched. Where a stage turns
    out to be over because the next one has begun, a network is about to compute, and nothing may.

    Args:
        owner: the pipeline.
        run: the key that its listeners are given.
        call: what keeps other runs away.
        on_step: is given every step, while the run pauses; `None` where nobody asks for them.
    """

    def __init__(
        self,
        owner: RunOwner,
        run: Run,
        call: ExclusiveCall,
        on_step: Callable[[Step], None] | None,
    ) -> None:
        self._owner, self._run, self._listeners = owner, run, run.listeners
        self._call, self._on_step = call, on_step
        self._stage = Stage.TEXT
        self._done: list[Step] = []
        self._has_read = self._has_denoised = False
        self._index = self._total = self._expected = 0
        self._scheduler: Any = None
        self._is_told = self._is_foreseen = False
        self._latents: Tensor | None = None

    def begin(self) -> None:
        """The run begins."""
        self._tell_begin(Stage.TEXT)

    def note_stage(self, stage: Stage) -> None:
        """A network is about to compute that belongs to this stage."""
        if stage is Stage.TEXT:
            self._has_read = True
        elif stage is Stage.ENCODING and not self._has_denoised and self._index == 0:
            self._turn_to(stage)
        elif stage is Stage.DENOISING:
            self._turn_to(stage)
            if not self._has_denoised and not self._is_told:
                self._tell_first_step()
            self._has_denoised = True
        elif stage is Stage.DECODING and self._stage is Stage.DENOISING and self._index:
            self._turn_to(stage)

    def note_schedule(self, scheduler: Any) -> None:
        """A scheduler has been given its timesteps.

        Strategies are not told: which of them a run goes through, and in which unit its network is
        given them, only the pipeline's own code knows.
        """
        if self._stage is Stage.TEXT and self._has_read:
            self._end_step(Step(Stage.TEXT, 0, 1), Stage.DENOISING)
            self._pause(Stage.DENOISING)
        if self._stage is Stage.DECODING or self._index == self._total:
            self._index = self._total = 0
            self._is_told = False
        self._scheduler, self._expected = scheduler, 0

    def note_attribute(self, name: str, value: Any) -> None:
        """The pipeline's code has set an attribute of it."""
        if name == COUNT and isinstance(value, int):
            self._expected = value

    def note_prediction(self, foresee: Foresee) -> None:
        """A scheduler is about to make a step, perhaps by another method of its own."""
        if self._run.on_prediction and self._has_denoised and not self._is_foreseen:
            self._is_foreseen = True
            self._run.on_prediction(self._index, foresee)

    def note_scheduler_step(self, scheduler: Any, timestep: Any, output: Any) -> None:
        """A scheduler has made a step, which ends one of the run if its network was called."""
        if not self._has_denoised:
            return
        self._has_denoised = self._is_foreseen = False
        self._latents = latents_of(output)
        if self._total == 0:
            self._total = _count_timesteps(self._owner.pipe, scheduler, timestep)
        self._total = max(self._total, self._index + 1)
        moment = timestep if isinstance(timestep, Tensor) else None
        step = Step(Stage.DENOISING, self._index, self._total, moment, self._latents)
        self._index += 1
        is_last = self._index == self._total or (self._owner.interrupt and self._owner.ends_early)
        following = Stage.DECODING if is_last else Stage.DENOISING
        if is_last:
            self._owner.strategies.after_steps()
        self._end_step(step, following)
        self._pause(following)
        if following is Stage.DENOISING:
            if self._owner.interrupt and not self._owner.ends_early:
                raise InterruptedRunError("The run was told to end before its last step.")
            self._owner.strategies.before_step(self._index, self._total)
        self._is_told = following is Stage.DENOISING

    def end(self, output: Any) -> None:
        """The call has returned `output`."""
        self._turn_to(Stage.DECODING)
        self._end_step(Step(Stage.DECODING, 0, 1, None, self._latents, output), None)
        self._pause(None)

    def _turn_to(self, stage: Stage) -> None:
        """The stage of this name has begun, whatever was under way."""
        before, self._stage = self._stage, stage
        if before is stage:
            return
        is_unused = before in (Stage.DENOISING, Stage.DECODING) and not self._has_denoised
        if not is_unused:
            self._end_step(Step(before, 0, 1, None, self._latents), stage)
            self._tell_begin(stage)

    def _tell_first_step(self) -> None:
        """Tell strategies that denoising begins; of how many steps may be as yet a guess."""
        self._is_told = True
        if total := max(self._total, self._expected or _count_from_begin(self._scheduler)):
            self._owner.strategies.before_step(self._index, max(total, self._index + 1))

    def _end_step(self, step: Step, following: Stage | None) -> None:
        if following is not None:
            self._stage = following
        for listener in reversed(self._listeners):
            listener.end_step(self._run, step)
        self._done.append(step)

    def _pause(self, following: Stage | None) -> None:
        """Hand over what is done, while anybody may switch; without anybody go on at once."""
        if not self._listeners and self._on_step is None and not self._call.is_waited_for:
            self._done.clear()
            return
        with self._call.pause():
            for listener in reversed(self._listeners):
                listener.between_steps(self._run)
            done, self._done = self._done, []
            if self._on_step is not None:
                for step in done:
                    self._on_step(step)
        if following is not None:
            self._tell_begin(following)

    def _tell_begin(self, stage: Stage) -> None:
        for listener in self._listeners:
            listener.begin_step(self._run, stage)


def _count_from_begin(scheduler: Any) -> int:
    """How many timesteps are left of a schedule from where a pipeline has let it begin."""
    if scheduler is None:
        return 0
    begin = vars(scheduler).get("_begin_index")
    return max(len(_timesteps_of(scheduler)) - (begin if isinstance(begin, int) else 0), 0)


def _count_timesteps(pipe: Any, scheduler: Any, first: Any) -> int:
    """How many denoising steps the present run has, where `first` is its first timestep.

    A pipeline says so, or goes through its scheduler's timesteps from the first one on.
    """
    own, known = vars(pipe).get(COUNT), _timesteps_of(scheduler)
    if isinstance(own, int) and 0 < own <= max(len(known), 1):
        return own
    is_one = isinstance(first, (int, float)) or (isinstance(first, Tensor) and first.numel() == 1)
    begin = float(first) if is_one else None
    return len(known) - (known.index(begin) if begin in known else 0)


def _timesteps_of(scheduler: Any) -> list[float]:
    """All timesteps that a scheduler has been given."""
    timesteps = vars(scheduler).get("timesteps")
    return [] if timesteps is None else [float(moment) for moment in timesteps]
