"""Methods that somebody has put in the place of a pipeline's own, and how a run calls them."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.pictures.inputs import Pictures

A = TypeVar("A", bound=Arguments)

PACKAGE = __name__.partition(".")[0]

LATENTS = "prepare_latents"

CHECK = "check_inputs"

UNCALLED = (
    "get_timesteps",
    "get_guidance_scale_embedding",
    "prepare_mask_latents",
    "prepare_image_latents",
    "_get_add_time_ids",
    "_encode_vae_image",
    "_pack_latents",
    "_unpack_latents",
    "_prepare_latent_image_ids",
)
"""What loops of one's own call, and our runs do not."""


def is_replaced(pipe: object, name: str) -> bool:
    """Whether the method `name` was set at the pipeline, or comes from code of somebody else."""
    if name in vars(pipe):
        return True
    method = next((vars(kind)[name] for kind in type(pipe).__mro__ if name in vars(kind)), None)
    return method is not None and str(method.__module__).partition(".")[0] != PACKAGE


def refuse_uncalled(pipe: object, *others: str) -> None:
    """Refuse to run with a method of somebody's own that would have no effect.

    Args:
        pipe: the pipeline.
        others: methods that its runs do not call, beside those that none does.

    Raises:
        TypeError: there is one.
    """
    for name in (*UNCALLED, *others):
        if is_replaced(pipe, name):
            raise TypeError(
                f"{type(pipe).__name__} has a {name} of your own, which its runs do not call; "
                "leave it out, or write the loop yourself, in a __call__ of your own."
            )


def check_by_own(pipe: Any, arguments: Arguments) -> None:
    """Call a `check_inputs` of somebody's own as loops do, in the place of our checks."""
    pipe.check_inputs(*(_as_given(arguments, name) for name in pipe.check_input_names))


def _as_given(arguments: Arguments, name: str) -> Any:
    value = vars(arguments).get(name)
    if not isinstance(value, Pictures) or isinstance(value.content, Tensor):
        return value.content if isinstance(value, Pictures) else value
    return value.content[0] if len(value.content) == 1 else [*value.content]


def begin_by_own(
    pipe: Any, arguments: Arguments, channels: int, device: torch.device, like: Tensor
) -> Any:
    """What a `prepare_latents` of somebody's own begins with, where there is no picture.

    Args:
        pipe: the pipeline.
        arguments: of the run.
        channels: of the latents.
        device: where it computes.
        like: any tensor in the dtype of the run.
    """
    return pipe.prepare_latents(
        arguments.picture_count,
        channels,
        *arguments.size,
        like.dtype,
        device,
        arguments.generator,
        arguments.latents,
    )
