"""Saying what would have helped when memory has run out."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from traceback import clear_frames
from typing import TYPE_CHECKING

import torch

from dpnb.pipelines.steps import Stage, Step, stage_after
from dpnb.strategies.relief import OutOfMemoryError, is_out_of_memory, relief

if TYPE_CHECKING:
    from dpnb.pipelines.text_to_image import TextToImagePipeline
    from dpnb.strategies.strategy import Strategy


def advised(
    pipe: TextToImagePipeline, steps: Generator[Step, None, None], pictures: int
) -> Generator[Step, None, None]:
    """`steps`; where memory runs out, the error names the cheapest switch that would have helped.

    What the run has allocated is free when the error arrives, even if that is kept.

    Args:
        pipe: what runs.
        steps: its run.
        pictures: how many it draws.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    stage = Stage.TEXT
    try:
        with closing(steps):
            for step in steps:
                yield step
                stage = stage_after(step, pipe.interrupt, bool(pipe.picture_inputs)) or stage
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        clear_frames(error.__traceback__)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        remedy = _remedy(pipe, stage, pictures)
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise OutOfMemoryError(stage.value, remedy, reason) from error


def _remedy(pipe: TextToImagePipeline, stage: Stage, pictures: int) -> Strategy | None:
    """What would have helped; `None` too where there is not the memory to find out."""
    try:
        return relief(pipe.strategies, stage.value, pictures)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
