"""The denoising loop, and classifier-free guidance."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from dpnb.generators import Generators
from dpnb.run_listener import Foresee
from dpnb.schedulers.derived import Known
from dpnb.schedulers.predictions import predict_original
from dpnb.stages import Stage, Step

DENOISED = "denoised"
"""The clean latents that the last step has foreseen, where a run has a place for them."""


class Denoiser(Protocol):
    """A pipeline, as the denoising loop sees it; all of it may change between two steps."""

    scheduler: Any

    @property
    def _execution_device(self) -> torch.device:
        """Where the networks compute."""
        ...

    @property
    def interrupt(self) -> bool:
        """Whether to stop before the next step."""
        ...

    def before_step(self, index: int, total: int) -> None:
        """Called before step `index` of `total`."""
        ...

    def predict_guided(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """What the scheduler is given for `latents` `[batch, channels, h, w]` at `t`."""
        ...

    def after_step(self, latents: Tensor, following: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """The latents to go on with, `following` being the next timestep, or none."""
        ...


def denoise(
    pipe: Denoiser,
    tensors: dict[str, Tensor],
    timesteps: Tensor,
    settings: dict[str, Any],
    note: Callable[[Step, Tensor], None],
    on_prediction: Callable[[int, Foresee], None] | None = None,
) -> Iterator[Step]:
    """Take the noise out of `tensors["latents"]`, one step after the other.

    Whoever iterates may change `tensors` and the pipeline between two steps.

    Args:
        pipe: predicts the noise and holds the scheduler.
        tensors: the latents, and what the prediction is conditioned on.
        timesteps: `[steps]`, those of the scheduler from where it begins.
        settings: further arguments of the scheduler's `step`.
        note: is shown every prediction that the scheduler is given.
        on_prediction: is called with the index of a step, and what computes the latents that its
            prediction leads to; see `RunListener.after_prediction`.
    """
    for index, t in enumerate(timesteps):
        if pipe.interrupt:
            return
        pipe.before_step(index, len(timesteps))
        move_run_to(pipe._execution_device, tensors, pipe.scheduler)
        t = t.to(tensors["latents"].device, non_blocking=True)
        latents = tensors["latents"]
        noise_pred = pipe.predict_guided(latents, t, tensors)
        note(Step(Stage.DENOISING, index, len(timesteps)), noise_pred)
        if on_prediction is not None:
            on_prediction(index, partial(predict_original, pipe.scheduler, noise_pred, t, latents))
        step = pipe.scheduler.step(noise_pred, t, latents, **settings, return_dict=False)
        following = timesteps[index + 1 : index + 2]
        tensors["latents"] = pipe.after_step(step[0], following, tensors)
        if DENOISED in tensors:
            tensors[DENOISED] = step[1]
        del latents, noise_pred, step
        yield Step(Stage.DENOISING, index, len(timesteps), t, tensors["latents"])


def move_run_to(device: torch.device, tensors: dict[str, Tensor], scheduler: Any) -> None:
    """Move a run's tensors to where the networks compute, when that has changed on the way.

    Args:
        device: where they compute.
        tensors: the latents, and what the prediction is conditioned on.
        scheduler: what it remembers of former steps moves too; what it keeps elsewhere stays.
    """
    former = tensors["latents"].device
    if device.type == former.type and device.index in (None, former.index):
        return
    for name, tensor in tensors.items():
        tensors[name] = tensor.to(device)

    moved: dict[int, Tensor] = {}

    def move(value: Any) -> Any:
        if isinstance(value, list):
            return [move(item) for item in value]
        if isinstance(value, Known):
            return value.moved(move(value.source))
        if not isinstance(value, Tensor) or value.device != former:
            return value
        if id(value) not in moved:
            moved[id(value)] = value.to(device)
        return moved[id(value)]

    state = vars(scheduler)
    state.update({name: move(value) for name, value in state.items()})


def guide(noise_pred: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598, eq. 6).

    Args:
        noise_pred: the predictions without and with the prompt, one after the other,
            `[2 * batch, channels, h, w]`.
        scale: 1 is the prediction with the prompt.
        rescale: φ of Lin et al. (2023, arXiv:2305.08891, eq. 15 and 16): how far the result takes
            the standard deviation of the prediction with the prompt.

    Returns:
        `[batch, channels, h, w]`.
    """
    without, given = noise_pred.chunk(2)
    return match_deviation(without + scale * (given - without), given, rescale)


def match_deviation(guided: Tensor, given: Tensor, rescale: float) -> Tensor:
    """`guided`, as far towards the standard deviation of `given` as `rescale` says.

    Args:
        guided: `[batch, channels, h, w]`.
        given: likewise.
        rescale: φ; 0 changes nothing.
    """
    if rescale <= 0.0:
        return guided
    axes = list(range(1, guided.ndim))
    matched = guided * (given.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True))
    return rescale * matched + (1 - rescale) * guided


def set_timesteps(
    scheduler: Any,
    num_inference_steps: int,
    device: torch.device,
    timesteps: Sequence[float] | None,
    sigmas: Sequence[float] | None,
) -> tuple[Tensor, int]:
    """Prepare `scheduler` for a run.

    Returns:
        Its timesteps, and how many steps a person would count.

    Raises:
        ValueError: the scheduler cannot take `timesteps` or `sigmas`.
    """
    if timesteps is None and sigmas is None:
        scheduler.set_timesteps(num_inference_steps, device=device)
        return torch.as_tensor(scheduler.timesteps), num_inference_steps
    scheduler.set_timesteps(timesteps=timesteps, sigmas=sigmas, device=device)
    return scheduler.timesteps, len(scheduler.timesteps)


def set_begin_index(scheduler: Any, index: int) -> None:
    """Tell `scheduler` at which of its timesteps a run begins; one of somebody's own may not ask.

    Args:
        scheduler: of the run.
        index: of the timestep.
    """
    if "set_begin_index" in dir(scheduler):
        scheduler.set_begin_index(index)


def timestep_at(scheduler: Any, share: float) -> int:
    """The timestep at which `share` of the schedule is done, between 0 and 1."""
    trained: int = scheduler.config.num_train_timesteps
    return round(trained - share * trained)


def steps_after(scheduler: Any, timesteps: Tensor, share: float) -> int:
    """How many of `timesteps` come after `share` of the schedule, which another model has done.

    A step of two evaluations is not begun with the second.
    """
    left = int((timesteps < timestep_at(scheduler, share)).sum())
    return left + (scheduler.order == 2 and left % 2 == 0)


def last_entries(embeds: Tensor, latents: Tensor) -> Tensor:
    """The entries of `embeds` that belong to `latents`, one for each.

    Those with the prompt come last, so that guidance may be switched off between two steps.
    """
    return embeds[-latents.shape[0] :]


def step_settings(scheduler: Any, generator: Generators, eta: float) -> dict[str, Any]:
    """Those of `generator` and `eta` that the scheduler's `step` takes."""
    known = inspect.signature(scheduler.step).parameters
    return {k: v for k, v in (("generator", generator), ("eta", eta)) if k in known}
