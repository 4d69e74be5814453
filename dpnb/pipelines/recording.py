"""Measuring every run within a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from typing_extensions import override

from dpnb.metering.clock import clock_for
from dpnb.metering.meter import Meter, MeterName, meter_for
from dpnb.metering.recorder import Recorder, RunRecorder
from dpnb.numbers import parse_number
from dpnb.pipelines.attached.attach import to_explorable
from dpnb.pipelines.attached.attached_run import InterruptedRunError
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener
from dpnb.stages import Stage, Step
from dpnb.strategies.strategy import Plan, Strategy, in_order


def record(
    pipe: Any,
    meter: Meter | MeterName | None = None,
    *,
    every: float | None = None,
) -> AbstractContextManager[Recorder]:
    """Measure every run of `pipe` that begins within the block.

    ```python
    with dpnb.record(pipe) as trace:
        pipe("red apple")
    trace.by_stage()["decoding"].peak
    ```

    What the block is given can be read as a `Trace` while runs go on, also from another thread, and
    its `trace` is one that does not change any more. Strategies that are switched within the block
    are marked with the time. A step's duration includes `callback_on_step_end`, and not what the
    caller of `stream` does between two steps. On a CUDA device durations are read from its events,
    without waiting inside a run; elsewhere from the host's clock. A peak is that of one step: for
    that, the device's or the process's high-water mark is reset before every step.

    Args:
        pipe: any number of runs of it, also in turn with those of other pipelines; one that was not
            written here is attached, and stays so.
        meter: `"tensors"` counts the tensors that the runs make, exactly and repeatably; `"host"`
            reads the resident set of the process; `"cuda"` reads torch's allocator; or a meter of
            your own. By default `"cuda"` where the pipeline computes on a CUDA device, and else
            `"host"`.
        every: read the meter so many seconds apart as well, for a curve within steps.

    Raises:
        AttachError: `pipe` is no pipeline, or one that cannot be attached.
        TypeError: `meter` is no meter, or `every` no number.
        ValueError: there is no meter of that name, or `every` is not above 0.
        MeterError: the meter cannot read anything here.
    """
    explored = to_explorable(pipe)
    if every is not None:
        every = parse_number("every", every)
        if not every > 0:
            raise ValueError(f"every is {every}; use seconds above 0, for example 0.1.")
    device = explored.execution_device
    return _recording(explored, Recorder(meter_for(device, meter), clock_for(device)), every)


@contextmanager
def _recording(
    pipe: ExplorablePipeline, recorder: Recorder, every: float | None
) -> Iterator[Recorder]:
    with ExitStack() as subscriptions:
        if every is not None:
            subscriptions.enter_context(recorder.sample_every(every))
        subscriptions.callback(pipe.watch(_RunsInto(recorder)))
        switches = _SwitchesInto(recorder, pipe.strategies.active)
        subscriptions.callback(pipe.strategies.subscribe(switches))
        yield recorder
    recorder.synchronize()


class _RunsInto(RunListener[Run]):
    """A listener that hands the steps of runs on to a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._runs: dict[Run, RunRecorder] = {}

    @override
    def begin_run(self, run: Run) -> None:
        plan = in_order(run.pipe.strategies.active)
        self._runs[run] = self._recorder.begin_run([_name(strategy) for strategy in plan])

    @override
    def begin_step(self, run: Run, stage: Stage) -> None:
        self._runs[run].begin_step(stage)

    @override
    def end_step(self, run: Run, step: Step) -> None:
        self._runs[run].end_step(step.stage, reused_share(run, step))

    @override
    def end_run(self, run: Run, error: BaseException | None) -> None:
        self._runs.pop(run).end(*outcome_of(run, error))


def reused_share(run: Run, step: Step) -> float | None:
    """How much of a step was reused; see `StepTrace`."""
    return run.pipe.strategies.reused_share if step.stage is Stage.DENOISING else None


class _SwitchesInto:
    """Notes what is switched on and off."""

    def __init__(self, recorder: Recorder, plan: Plan) -> None:
        self._recorder = recorder
        self._plan = plan

    def __call__(self, plan: Plan) -> None:
        former, self._plan = self._plan, plan
        kinds = {type(strategy) for strategy in plan}
        for strategy in in_order(former - plan):
            if type(strategy) not in kinds:
                self._recorder.note(f"{_name(strategy)} off")
        for strategy in in_order(plan - former):
            self._recorder.note(f"{_name(strategy)} on")


def _name(strategy: Strategy) -> str:
    return repr(strategy).removesuffix("()")


def outcome_of(run: Run, error: BaseException | None) -> tuple[str, str | None]:
    """How a run has ended, and what it failed with; see `RunTrace`."""
    if isinstance(error, GeneratorExit):
        return "left", None
    is_told = isinstance(error, (KeyboardInterrupt, InterruptedRunError))
    if is_told or (error is None and run.pipe.interrupt):
        return "interrupted", None
    if error is not None:
        return "failed", f"{type(error).__name__}: {error}"
    return "finished", None
