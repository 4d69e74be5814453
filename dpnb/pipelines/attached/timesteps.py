"""How many denoising steps a run has, told by the pipeline or by its scheduler."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def count_timesteps(pipe: Any, scheduler: Any, first: Any) -> int:
    """How many denoising steps the present run has, where `first` is its first timestep.

    A pipeline says so, or goes through its scheduler's timesteps from the first one on.
    """
    own, timesteps = vars(pipe).get("_num_timesteps"), vars(scheduler).get("timesteps")
    known = [] if timesteps is None else [float(moment) for moment in timesteps]
    if isinstance(own, int) and 0 < own <= max(len(known), 1):
        return own
    is_one = isinstance(first, (int, float)) or (isinstance(first, Tensor) and first.numel() == 1)
    begin = float(first) if is_one else None
    return len(known) - (known.index(begin) if begin in known else 0)
