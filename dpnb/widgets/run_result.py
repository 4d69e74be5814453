"""What panels show of a run that is over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dpnb.metering.trace import RunTrace, Trace
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.recording import outcome_of
from dpnb.planning.out_of_memory import choose_memory_saver
from dpnb.planning.workload import Workload
from dpnb.stages import Stage
from dpnb.strategies.out_of_memory import OutOfMemoryError, find_memory_savers, is_out_of_memory
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Strategy
from dpnb.units import format_seconds
from dpnb.widgets.browser_images import encode_png, lay_out_images
from dpnb.widgets.current_run import CurrentRun
from dpnb.widgets.run_output import Rates, RunOutput, read_output
from dpnb.widgets.sampling_rate import find_sampling_rate
from dpnb.widgets.state import Request

FRAME_RATES = ("fps", "frame_rate")
"""What calls take that says how fast a video is played."""


@dataclass(frozen=True)
class RunResult:
    """What is shown of a run that is over.

    Args:
        message: how it has ended, in words.
        error: why it has failed, or why it cannot be shown; empty otherwise.
        memory_saver: what to switch on against the error, where that is known.
        trace: what was measured; `None` where that has failed.
        output: what the run has brought.
        picture: of all its pictures, as a PNG file; empty where there is none.
    """

    message: str
    error: str = ""
    memory_saver: Strategy | None = None
    trace: Trace | None = None
    output: RunOutput = field(default_factory=RunOutput)
    picture: bytes = b""


def finish_run(
    current: CurrentRun, error: BaseException | None, pipe: ExplorablePipeline
) -> RunResult:
    """Stop what goes on beside a run that is over, and collect what is shown of it.

    It raises nothing: what cannot be measured or shown is named in the error, the rest is there.

    Args:
        current: the run.
        error: what has stopped it.
        pipe: what has run.
    """
    result = RunResult("The run is over.", "" if error is None else describe_error(error))
    try:
        with current.cleanup:
            current.recording.end(*outcome_of(current.run, error))
        current.recorder.synchronize()
        trace = current.recorder.trace
        result = replace(result, trace=trace, message=_message(trace.runs[0]))
        if error is not None:
            return _add_error(result, trace.runs[0], current, error, pipe.strategies)
        result = replace(result, output=_read(current, pipe))
        pictures = result.output.middles
        return replace(result, picture=encode_png(lay_out_images(pictures)) if pictures else b"")
    except Exception as failure:
        unshown = f"The run is over, but not all of it can be shown: {describe_error(failure)}"
        return replace(result, error=result.error or unshown)


def fill_in(request: Request, pipe: ExplorablePipeline) -> Request:
    """A request with all that was left to the pipeline: its numbers, size and scheduler.

    What is set at the scheduler is left to the settings of the run.
    """
    scheduler = pipe.scheduler
    own = None if scheduler is None else type(scheduler).__name__
    asked = request.with_defaults(pipe)
    return replace(asked, scheduler=request.scheduler or own, scheduler_settings=None)


def describe_error(error: BaseException) -> str:
    """The message of an error; its class's name where there is none."""
    return str(error).strip() or type(error).__name__


def _message(done: RunTrace) -> str:
    took = format_seconds(done.duration)
    match done.outcome:
        case "finished":
            return f"Drawn in {took}{_reuse_in_words(done)}"
        case "failed":
            return f"Failed after {took}."
        case _:
            steps = sum(step.stage is Stage.DENOISING for step in done.steps)
            return f"Stopped after {steps} steps, {took}."


def _reuse_in_words(done: RunTrace) -> str:
    """The end of a sentence, and what to do where a cache was of no use."""
    if not done.reuse:
        return "."
    if any(step.has_reused for step in done.steps):
        return f", {done.reuse}."
    return (
        ". The step cache has reused nothing: raise its threshold or its interval, or draw more "
        "steps."
    )


def _add_error(
    result: RunResult,
    done: RunTrace,
    current: CurrentRun,
    error: BaseException,
    stack: StrategyStack,
) -> RunResult:
    """The result with what has gone wrong, where the run was not merely stopped."""
    if done.outcome != "failed":
        return replace(result, error="")
    if is_out_of_memory(error) and not isinstance(error, OutOfMemoryError):
        stage = done.steps[-1].stage if done.steps else Stage.TEXT
        pictures = 1 if current.request is None else current.request.count
        cheapest = next(find_memory_savers(stack, stage, pictures), None)
        error = OutOfMemoryError(stage, cheapest, describe_error(error))
    memory_saver = error.relief if isinstance(error, OutOfMemoryError) else None
    return replace(result, error=describe_error(error), memory_saver=memory_saver)


def predict_memory_saver(
    pipe: ExplorablePipeline, request: Request, trace: Trace
) -> Strategy | None:
    """The cheapest strategy with which the run that `trace` shows is predicted to fit.

    Args:
        pipe: what has run; nothing must be drawn with it meanwhile.
        request: what was drawn.
        trace: of the run that has failed.

    Returns:
        Where none alone would do, the one that needs the least. `None` where nobody knows how much
        memory there is, or where predicting would bring weights back that are placed elsewhere.
    """
    limit = _available(trace)
    if limit is None:
        return None
    asked = request.with_defaults(pipe)
    workload = Workload(
        height=asked.height,
        width=asked.width,
        batch=asked.count,
        steps=asked.steps,
        guidance_scale=asked.guidance_scale,
    )
    savers = find_memory_savers(pipe.strategies, trace.steps[-1].stage, request.count)
    return choose_memory_saver(pipe, workload, limit, savers)


def _available(trace: Trace) -> int | None:
    """Bytes that this process could have had, as the run's last reading says."""
    if not trace.steps:
        return None
    reading = trace.steps[-1].reading
    return None if reading.limit is None else reading.limit - (reading.others or 0)


def _read(current: CurrentRun, pipe: ExplorablePipeline) -> RunOutput:
    """What the last step of a run has brought."""
    output: Any = None if current.step is None else current.step.output
    return RunOutput() if output is None else read_output(output, _rates(current.request, pipe))


def _rates(request: Request | None, pipe: ExplorablePipeline) -> Rates:
    """How fast videos and sounds are played, as far as the call or the components say."""
    known, more = Rates(), {} if request is None else dict(request.more)
    signature = pipe.call_signature
    asked = [more.get(name) or signature.default(name) for name in FRAME_RATES]
    frames = next((rate for rate in asked if isinstance(rate, (int, float)) and rate > 0), None)
    return Rates(frames or known.frames, find_sampling_rate(pipe.parts()) or known.samples)
