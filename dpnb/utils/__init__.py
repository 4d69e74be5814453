"""What scripts import from here, as from the package that they were written for.

Nothing is at home in this folder: its names are those of other modules.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from dpnb.pipelines.foreign.standins import (
    PIL_INTERPOLATION,
    BaseOutput,
    deprecate,
    get_logger,
    is_torch_version,
    is_xformers_available,
    replace_example_docstring,
)
from dpnb.pipelines.pictures.files import export_to_gif, load_image, make_image_grid
from dpnb.pipelines.pictures.images import numpy_to_pil, postprocess
from dpnb.utils import logging

__all__ = [
    "PIL_INTERPOLATION",
    "BaseOutput",
    "deprecate",
    "export_to_gif",
    "export_to_video",
    "get_logger",
    "is_torch_version",
    "is_xformers_available",
    "load_image",
    "logging",
    "make_image_grid",
    "numpy_to_pil",
    "pt_to_pil",
    "replace_example_docstring",
]


def pt_to_pil(images: Any) -> Any:
    """PIL's pictures of a tensor `[batch, channels, height, width]` in [-1, 1]."""
    return postprocess(images, "pil")


def export_to_video(
    video_frames: Any, output_video_path: str | Path | None = None, fps: int = 10, **options: Any
) -> NoReturn:
    """Refuse.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "dpnb writes no videos; use export_to_gif, or imageio.v3.imwrite(path, frames, fps=fps)."
    )
