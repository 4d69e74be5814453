"""Sizes of pictures in usual shapes."""

from __future__ import annotations

from dpnb.pipelines.explorable import ExplorablePipeline

SHAPES = {
    "square": 1.0,
    "portrait 3:4": 3 / 4,
    "landscape 4:3": 4 / 3,
    "tall 9:16": 9 / 16,
    "wide 16:9": 16 / 9,
}
"""Width over height."""


def list_shapes(pipe: ExplorablePipeline) -> dict[str, tuple[int, int]]:
    """Width and height of pictures of several shapes, each of about the model's own area."""
    size, unit = pipe.default_size(), pipe.size_unit
    if size is None:
        return {}
    area, found = size[0] * size[1], {}
    for name, ratio in SHAPES.items():
        sides = ((area * ratio) ** 0.5, (area / ratio) ** 0.5)
        width, height = (max(round(side / unit), 1) * unit for side in sides)
        found[f"{name}, {width} × {height}"] = width, height
    return found
