"""What a caller is called back with in a run, after each step."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from torch import Tensor

from dpnb.pipelines.arguments import Arguments
from dpnb.stages import Step
from dpnb.strategies.stack import StrategyStack


class CallingPipeline(Protocol):
    """A pipeline, as its callbacks ask for it."""

    _callback_tensor_inputs: ClassVar[list[str]]
    scheduler: Any

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on."""
        ...


def call_back(
    pipe: CallingPipeline,
    arguments: Arguments,
    step: Step[Any],
    tensors: dict[str, Tensor],
) -> Tensor:
    """Let the caller's functions see and replace tensors.

    Args:
        pipe: what runs.
        arguments: of the run.
        step: the one that is over.
        tensors: of the run; what `callback_on_step_end` returns takes their places. It sees `None`
            for one that the run has not, as negative prompts without guidance.

    Returns:
        The latents afterwards.
    """
    if step.timestep is None:
        return tensors["latents"]
    if arguments.callback_on_step_end is not None:
        names = arguments.callback_on_step_end_tensor_inputs
        seen: dict[str, Any] = {name: tensors.get(name) for name in names}
        with pipe.strategies.between_steps():
            changed = arguments.callback_on_step_end(pipe, step.index, step.timestep, seen)
        for name in pipe._callback_tensor_inputs:
            if changed and changed.get(name) is not None:
                tensors[name] = changed[name]
    order, done = pipe.scheduler.order, step.index + 1
    is_due = step.index % arguments.callback_steps == 0
    if arguments.callback is not None and is_due and (done % order == 0 or done == step.total):
        with pipe.strategies.between_steps():
            arguments.callback(step.index // order, step.timestep, tensors["latents"])
    return tensors["latents"]
