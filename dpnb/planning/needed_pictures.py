"""Made-up pictures, of what a pipeline says that it cannot do without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.planning.workload import EXAMPLE, Workload

if TYPE_CHECKING:
    from PIL.Image import Image


def make_needed_pictures(pipe: ExplorablePipeline, workload: Workload) -> dict[str, Image]:
    """A made-up picture for each argument by which a call of `pipe` begins with one.

    Args:
        pipe: the pipeline.
        workload: what is drawn; pictures are as large.
    """
    height, width = workload.height or EXAMPLE, workload.width or EXAMPLE
    needed = (one for one in pipe.picture_inputs if not one.is_optional)
    return {one.argument: one.example(height, width) for one in needed}
