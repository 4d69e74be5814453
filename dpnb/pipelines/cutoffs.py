"""Callbacks of a run that know which tensors they are to see, and some that end its guidance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from typing_extensions import override

from dpnb.loading.config import Config
from dpnb.pipelines.foreign.declared import register_to_config


class PipelineCallback:
    """What a run calls after each step, as its `callback_on_step_end`.

    A subclass names the tensors that it sees, and says in `callback_fn` what becomes of them.

    Args:
        cutoff_step_ratio: when it acts, as a share of the steps.
        cutoff_step_index: when it acts, as a number of steps; in place of the share.

    Raises:
        ValueError: both are given, or neither, or the share is none.
    """

    config: Config
    tensor_inputs: ClassVar[list[str]]

    @register_to_config
    def __init__(
        self, cutoff_step_ratio: float | None = 1.0, cutoff_step_index: int | None = None
    ) -> None:
        if (cutoff_step_ratio is None) == (cutoff_step_index is None):
            raise ValueError("give cutoff_step_ratio or cutoff_step_index, and not both.")
        if cutoff_step_ratio is not None and not 0.0 <= cutoff_step_ratio <= 1.0:
            raise ValueError(
                f"cutoff_step_ratio is {cutoff_step_ratio}; it is a share between 0 and 1."
            )

    def cutoff_step(self, steps: int) -> int:
        """After which of so many steps it acts."""
        index: int | None = self.config["cutoff_step_index"]
        return int(steps * self.config["cutoff_step_ratio"]) if index is None else index

    def callback_fn(
        self, pipeline: Any, step_index: int, timestep: Any, callback_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """What becomes of the tensors after a step.

        Args:
            pipeline: that runs.
            step_index: of the step.
            timestep: likewise.
            callback_kwargs: the tensors, by name.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what its callback_fn does.")

    def __call__(
        self, pipeline: Any, step_index: int, timestep: Any, callback_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """See `callback_fn`."""
        return self.callback_fn(pipeline, step_index, timestep, callback_kwargs)


class MultiPipelineCallbacks:
    """Several callbacks, one after the other.

    Args:
        callbacks: in order.
    """

    def __init__(self, callbacks: Sequence[PipelineCallback]) -> None:
        self.callbacks = callbacks

    @property
    def tensor_inputs(self) -> list[str]:
        """What any of them sees."""
        return list(dict.fromkeys(name for one in self.callbacks for name in one.tensor_inputs))

    def __call__(
        self, pipeline: Any, step_index: int, timestep: Any, callback_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Let each of them see what the former has made."""
        for one in self.callbacks:
            callback_kwargs = one(pipeline, step_index, timestep, callback_kwargs)
        return callback_kwargs


class SDCFGCutoffCallback(PipelineCallback):
    """Ends classifier-free guidance of Stable Diffusion, so that later steps take half the time."""

    tensor_inputs: ClassVar[list[str]] = ["prompt_embeds"]

    @override
    def callback_fn(
        self, pipeline: Any, step_index: int, timestep: Any, callback_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        if step_index == self.cutoff_step(pipeline.num_timesteps):
            pipeline._guidance_scale = 0.0
            for name in self.tensor_inputs:
                both = callback_kwargs[name]
                callback_kwargs[name] = both[len(both) // 2 :]
        return callback_kwargs


class SDXLCFGCutoffCallback(SDCFGCutoffCallback):
    """Ends classifier-free guidance of Stable Diffusion XL."""

    tensor_inputs: ClassVar[list[str]] = ["prompt_embeds", "add_text_embeds", "add_time_ids"]


def tensors_seen_by(callback: object) -> list[str] | None:
    """What a callback says that it is to see; `None` where it says nothing."""
    if isinstance(callback, (PipelineCallback, MultiPipelineCallbacks)):
        return callback.tensor_inputs
    return None
