"""What panels show of a run that is over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from dpnb.metering.trace import RunTrace, Trace
from dpnb.pipelines.recording import outcome_of
from dpnb.pipelines.steps import Stage, Step
from dpnb.strategies.relief import OutOfMemoryError, is_out_of_memory, relief
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Strategy
from dpnb.units import format_seconds
from dpnb.widgets.browser_images import encode_png, make_image_grid
from dpnb.widgets.current_run import CurrentRun


@dataclass(frozen=True)
class RunResult:
    """What is shown of a run that is over.

    Args:
        message: how it has ended, in words.
        error: why it has failed, or why it cannot be shown; empty otherwise.
        remedy: what to switch on against the error, where that is known.
        trace: what was measured; `None` where that has failed.
        pictures: what was drawn.
        picture: of them all, as a PNG file; empty where there is none.
    """

    message: str
    error: str = ""
    remedy: Strategy | None = None
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
        stage = done.steps[-1].stage if done.steps else Stage.TEXT.value
        pictures = 1 if current.request is None else current.request.count
        error = OutOfMemoryError(stage, relief(stack, stage, pictures), describe_error(error))
    remedy = error.relief if isinstance(error, OutOfMemoryError) else None
    return replace(result, error=describe_error(error), remedy=remedy)


def _pictures(step: Step | None) -> tuple[Image.Image, ...]:
    """What the last step of a run has brought, where these are pictures."""
    output: Any = None if step is None else step.output
    if output is None:
        return ()
    images = output[0] if isinstance(output, tuple) else output.images
    if not isinstance(images, list):
        return ()
    return tuple(image for image in images if isinstance(image, Image.Image))
