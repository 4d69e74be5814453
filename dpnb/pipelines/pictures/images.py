"""From tensors to pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from dpnb.output import Output

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(eq=False)
class ImagePipelineOutput(Output):
    """What a run returns: pictures, and nothing else."""

    images: Any


OUTPUT_TYPES: tuple[str, ...] = ("pil", "np", "pt", "latent")


def numpy_to_pil(images: np.ndarray[Any, Any]) -> list[Image]:
    """Pictures of numbers.

    Args:
        images: one picture `[height, width, channels]` or a batch of them, values in [0, 1];
            what lies outside is clipped. One or three channels.

    Raises:
        TypeError: `images` is no array.
        ValueError: it holds NaN or infinity.
    """
    from PIL import Image

    if not isinstance(images, np.ndarray):
        raise TypeError(
            f"numpy_to_pil takes a numpy array, not {type(images).__name__}; stack the pictures "
            "with numpy.stack, or convert a tensor with .cpu().permute(0, 2, 3, 1).numpy()."
        )
    if not np.isfinite(images).all():
        raise ValueError("images hold NaN or infinity, which no picture shows; draw them anew.")
    batch = images[None] if images.ndim == 3 else images
    levels = (batch.clip(0.0, 1.0) * 255).round().astype("uint8")
    return [Image.fromarray(one.squeeze(-1) if one.shape[-1] == 1 else one) for one in levels]


def postprocess(
    pictures: Tensor, output_type: str, are_signed: Sequence[bool] | None = None
) -> Any:
    """Decoded pictures in the form that a pipeline returns.

    Args:
        pictures: `[batch, channels, height, width]` in [-1, 1].
        output_type: `"pil"`, `"np"` (`[batch, height, width, channels]`) or `"pt"`.
        are_signed: `False` for entries that are in [0, 1] already.
    """
    unit = (pictures * 0.5 + 0.5).clamp(0, 1)
    if are_signed is not None:
        for index, is_signed in enumerate(are_signed):
            if not is_signed:
                unit[index] = pictures[index]
    if output_type == "pt":
        return unit
    array = unit.cpu().permute(0, 2, 3, 1).float().numpy()
    return array if output_type == "np" else numpy_to_pil(array)


def pt_to_pil(images: Tensor) -> Any:
    """PIL's pictures of a tensor `[batch, channels, height, width]` in [-1, 1]."""
    return postprocess(images, "pil")


def check_output_type(output_type: str) -> None:
    """Refuse an unknown form of pictures before anything is computed."""
    if output_type not in OUTPUT_TYPES:
        raise ValueError(
            f"output_type is {output_type!r}; use one of "
            f"{', '.join(repr(known) for known in OUTPUT_TYPES)}."
        )
