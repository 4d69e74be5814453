"""What panels show of a run that is over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from dpnb.metering.trace import RunTrace, Trace
from dpnb.pipelines.recording import outcome_of
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.planning.out_of_memory import choose_memory_saver
from dpnb.planning.workload import Workload
from dpnb.stages import Stage, Step
from dpnb.strategies.out_of_memory import OutOfMemoryError, find_memory_savers, is_out_of_memory
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Strategy
from dpnb.units import format_seconds
from dpnb.widgets.browser_images import encode_png, make_image_grid
from dpnb.widgets.current_run import CurrentRun
from dpnb.widgets.state import Request


@dataclass(frozen=True)
class RunResult:
    """What is shown of a run that is over.

    Args:
        message: how it has ended, in words.
        error: why it has failed, or why it cannot be shown; empty otherwise.
        memory_saver: what to switch on against the error, where that is known.
        trace: what was measured; `None` where that has failed.
        pictures: what was drawn.
        picture: of them all, as a PNG file; empty where there is none.
    """

    message: str
    error: str = ""
    memory_saver: Strategy | None = None
    trace: Trace | None = None
    pictures: tuple[Image.Image, ...] = ()
    picture: bytes = b""


def finish_run(current: CurrentRun, error: BaseException | None, stack: StrategyStack) -> RunResult:
    """Stop what goes on beside a run that is over, and collect what is shown of it.

    It raises nothing: what cannot be measured or shown is named in the error, the rest is there.

    Args:
        current: the run.
        error: what has stopped it.
        stack: what was switched on.
    """
    pictures = () if error is not None else _pictures(current.step)
    result = RunResult(
        "The run is over.", "" if error is None else describe_error(error), None, None, pictures
    )
    try:
        with current.cleanup:
            current.recording.end(*outcome_of(current.run, error))
        current.recorder.synchronize()
        trace = current.recorder.trace
        result = replace(result, trace=trace, message=_message(trace.runs[0]))
        if error is not None:
            result = _add_error(result, trace.runs[0], current, error, stack)
        return replace(result, picture=encode_png(make_image_grid(pictures)) if pictures else b"")
    except Exception as failure:
        unshown = f"The run is over, but not all of it can be shown: {describe_error(failure)}"
        return replace(result, error=result.error or unshown)


def describe_error(error: BaseException) -> str:
    """The message of an error; its class's name where there is none."""
    return str(error).strip() or type(error).__name__


def _message(done: RunTrace) -> str:
    took = format_seconds(done.duration)
    match done.outcome:
        case "finished":
            return f"Drawn in {took}."
        case "failed":
            return f"Failed after {took}."
        case _:
            steps = sum(step.stage == Stage.DENOISING.value for step in done.steps)
            return f"Stopped after {steps} steps, {took}."


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
    pipe: TextToImagePipeline, request: Request, trace: Trace
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
    workload = Workload(
        height=request.height,
        width=request.width,
        batch=request.count,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
    )
    savers = find_memory_savers(pipe.strategies, trace.steps[-1].stage, request.count)
    return choose_memory_saver(pipe, workload, limit, savers)


def _available(trace: Trace) -> int | None:
    """Bytes that this process could have had, as the run's last reading says."""
    if not trace.steps:
        return None
    reading = trace.steps[-1].reading
    return None if reading.limit is None else reading.limit - (reading.others or 0)


def _pictures(step: Step | None) -> tuple[Image.Image, ...]:
    """What the last step of a run has brought, where these are pictures."""
    output: Any = None if step is None else step.output
    if output is None:
        return ()
    images = output[0] if isinstance(output, tuple) else output.images
    if not isinstance(images, list):
        return ()
    return tuple(image for image in images if isinstance(image, Image.Image))
