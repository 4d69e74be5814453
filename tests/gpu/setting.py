"""Under what a part measures: the device, the models, and the time that it has."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

MARGIN_S = 4.0
"""Before its time is up, a part begins nothing more."""


@dataclass(frozen=True)
class Shape:
    """What is drawn, and by a model of which shape.

    Args:
        architecture: of `dpnb.random_pipeline`.
        side: of a picture, in pixels.
        dtype: of the weights.
        steps: of denoising.
    """

    architecture: str
    side: int
    dtype: str = "float16"
    steps: int = 4

    @property
    def title(self) -> str:
        """In a few words."""
        return f"{self.architecture}, {self.side} × {self.side}, {self.dtype}"


SHAPES = {"sd15": Shape("sd15", 512), "sdxl": Shape("sdxl", 1024)}

SMALL_SHAPES = {
    "sd15": Shape("tiny-sd", 32, "float32", 2),
    "sdxl": Shape("tiny-sdxl", 32, "float32", 2),
}
"""What stands for them in a dry run."""


@dataclass(frozen=True)
class Setting:
    """Under what a part measures.

    Args:
        out: the folder of results, for pictures.
        seconds: that the part has.
        is_dry: whether all of it runs on the CPU, with the smallest models.
        options: further words by name.
    """

    out: str
    seconds: float
    is_dry: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic, compare=False)

    @property
    def left(self) -> float:
        """Seconds until nothing more is begun."""
        return self.seconds - MARGIN_S - (time.monotonic() - self.began)

    @property
    def device(self) -> str:
        """Where everything computes."""
        return "cpu" if self.is_dry else "cuda"

    @property
    def link(self) -> str:
        """To where weights stream."""
        return "simulated:64GiB/s" if self.is_dry else "cuda"

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """The two models."""
        return SMALL_SHAPES if self.is_dry else SHAPES

    @property
    def folder(self) -> Path:
        """The folder of results."""
        return Path(self.out)

    def to_text(self) -> str:
        """For the command line of a part's process, whose time begins anew."""
        return json.dumps({k: v for k, v in asdict(self).items() if k != "began"})

    @classmethod
    def from_text(cls, text: str) -> Setting:
        """What `to_text` has written."""
        return cls(**json.loads(text))


def missing(*packages: str) -> list[str]:
    """Those of these packages that are not installed."""
    return [name for name in packages if find_spec(name) is None]
