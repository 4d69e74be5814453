"""A small pipeline of diffusers, and the arguments of a short call of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class ForeignCase:
    """A small pipeline of diffusers with random weights, and the arguments of a short call.

    Args:
        name: the class's; in parentheses what tells this case from others of the same class.
        build: makes it anew: float32, on the CPU, without progress bar, always with the same
            weights, none of which is all zeros or so large that the output is not finite.
        arguments: makes those of a call anew, generator included: two or three steps, small.
    """

    name: str
    build: Callable[[], Any]
    arguments: Callable[[], dict[str, Any]]

    def draw(self, pipe: Any) -> Tensor:
        """The output of a call of `pipe`, as one flat tensor.

        Some pipelines take noise from torch's own generator beside the one they are given, so that
        one starts at a seed, and is afterwards as it was.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return flatten_output(pipe(**self.arguments()))


def flatten_output(output: Any) -> Tensor:
    """All numbers of a pipeline's output, whatever it holds, as float32 `[n]`; of texts, bytes."""
    values = output.values() if isinstance(output, dict) else output
    return torch.cat([_flatten(value) for value in values if value is not None])


def _flatten(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().float().flatten()
    if isinstance(value, (list, tuple)):
        return torch.cat([_flatten(item) for item in value])
    if isinstance(value, str):
        return _flatten(np.frombuffer(value.encode(), dtype=np.uint8))
    if isinstance(value, Image.Image):
        return _flatten(np.asarray(value))
    return torch.as_tensor(np.asarray(value, dtype=np.float32)).flatten()
