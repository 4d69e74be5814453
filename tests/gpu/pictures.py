"""Pictures of the model inside, and how far two of them are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Picture = np.ndarray[Any, np.dtype[np.float32]]

ALLOWED = 1e-3
"""The largest difference of a value in [0, 1] that rounding may make in a few steps."""


def draw_emoji(pipe: Any, steps: int = 20, prompt: str = "red apple", **arguments: Any) -> Picture:
    """A picture, `[height, width, 3]`, from noise of the CPU."""
    made = pipe(
        prompt,
        num_inference_steps=steps,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
        **arguments,
    )
    picture: Picture = made.images[0]
    return picture


def difference(one: Picture, other: Picture) -> float:
    """The largest one of a value."""
    return float(np.abs(one - other).max())


def verdict(off: float) -> dict[str, str]:
    """A remark for a row where a picture is another one than rounding makes."""
    return {} if off <= ALLOWED else {"failed": f"more than {ALLOWED:g}"}
