"""Drawing the same thing with two pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

TOLERANCE = 2e-4
"""On pictures in [0, 1], in float32."""

STEPS = 4


def draw(pipe: Any, prompt: Any = "a red apple", *, seed: int = 7, **arguments: Any) -> Any:
    """Pictures as an array, `[batch, height, width, channels]`."""
    pipe.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": STEPS, "output_type": "np", **arguments}
    settings.setdefault("generator", torch.Generator().manual_seed(seed))
    return pipe(prompt, **settings).images


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal within the tolerance, and no constant grey."""
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all()
    assert theirs.std() > 0.01
    assert np.abs(ours - theirs).max() <= TOLERANCE
