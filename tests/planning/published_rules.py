"""What simple rules say of the memory that a run needs, to set predictions beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from tests.planning.published_points import Point
from tests.planning.published_runs import Prediction

INVOKE = 2200
"""Bytes of a decode for each byte of a pixel's number."""

HEADROOM, OVERHEAD = 8 << 30, 2 << 30
"""For a picture of 1024 × 1024, and for all else."""

TURBO = 0.85
"""Of that headroom, for models of few steps."""


def weights_and_a_fifth(point: Point, found: Prediction) -> float | None:
    """1.2 × weights, of a whole run."""
    return 1.2 * found.weights if found.weights else None


def invoke(point: Point, found: Prediction) -> float | None:
    """InvokeAI's rule for what decoding reserves (`backend/util/vae_working_memory.py`)."""
    values = point.values
    if values["switches"] != ["decode alone"] or not point.is_reserved:
        return None
    itemsize: int = getattr(torch, values["dtype"]).itemsize
    return float(INVOKE * itemsize * values["height"] * values["width"])


def unsloth(point: Point, found: Prediction) -> float | None:
    """Unsloth's rule for all that a picture needs (`core/inference/diffusion_memory.py`, 2026).

    Weights, a headroom by pixels and pictures (at least a quarter of it), and a fixed overhead.
    """
    values = point.values
    if not found.weights or values["switches"] == ["after loading, before any call"]:
        return None
    share = max(values["height"] * values["width"] * values["batch"] / 1024**2, 0.25)
    headroom = HEADROOM * share * (TURBO if "turbo" in values["model"] else 1)
    return float(found.weights + max(headroom, 1 << 30) + OVERHEAD)


RULES: Mapping[str, Callable[[Point, Prediction], float | None]] = {
    "weights×1.2": weights_and_a_fifth,
    "InvokeAI": invoke,
    "Unsloth": unsloth,
}
