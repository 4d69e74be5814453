"""The stages of a run, and what it yields: one `Step` for each thing it has done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic

from torch import Tensor
from typing_extensions import TypeVar, override

Out = TypeVar("Out", covariant=True, default=Any)

NO_OUTPUT: Any = None
"""What steps before the last one have."""


class Stage(str, Enum):
    """The parts of a run, in the order in which they come.

    Pictures are encoded only where a pipeline begins with some. Each equals its word, so that files
    and people may say `"decoding"`.
    """

    TEXT = "text"
    ENCODING = "encoding"
    DENOISING = "denoising"
    DECODING = "decoding"

    @override
    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Step(Generic[Out]):
    """A run has come this far.

    Args:
        stage: what has just been done.
        index: which step of its stage this was, from 0.
        total: how many steps the stage has.
        timestep: the scheduler's, where the stage has one; 0-dimensional.
        latents: as they are now, `[batch, channels, h, w]`; not before the first denoising step.
        output: what the pipeline returns, on the last step of a run; `None` on others. The type
            parameter is what it may be.
    """

    stage: Stage
    index: int
    total: int
    timestep: Tensor | None = None
    latents: Tensor | None = None
    output: Out = NO_OUTPUT


def stage_after(step: Step, is_interrupted: bool, encodes: bool) -> Stage | None:
    """What a run turns to after `step`; `None` where that was its end.

    Args:
        step: what has just been done.
        is_interrupted: whether it goes straight to decoding.
        encodes: whether it begins with pictures.
    """
    if step.stage is Stage.DECODING:
        return None
    if step.stage is Stage.TEXT and encodes:
        return Stage.ENCODING
    is_last = step.stage is Stage.DENOISING and step.index + 1 == step.total
    return Stage.DECODING if is_last or is_interrupted else Stage.DENOISING
