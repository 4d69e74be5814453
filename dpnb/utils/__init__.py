"""What scripts import from here, as from the package that they were written for.

Its names are those of other modules; how much is said, `logging`, is alone at home here.
"""

from __future__ import annotations

from typing import Any

from dpnb.module_paths import find_elsewhere
from dpnb.output import Output as BaseOutput
from dpnb.pipelines.foreign.standins import (
    PIL_INTERPOLATION,
    deprecate,
    get_logger,
    is_torch_version,
    is_xformers_available,
    replace_example_docstring,
)
from dpnb.pipelines.pictures.files import (
    export_to_gif,
    export_to_video,
    load_image,
    make_image_grid,
)
from dpnb.pipelines.pictures.images import numpy_to_pil, pt_to_pil
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


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)
