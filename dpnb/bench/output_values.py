"""The numbers in what a pipeline returns, to compare runs by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

NAMES = ("images", "frames", "videos", "audios")
"""What outputs call what was drawn."""


def read_values(output: Any) -> np.ndarray[Any, Any]:
    """What was drawn, as numbers; colours in [0, 1], `[batch, ..., height, width, channels]`.

    Args:
        output: of a pipeline, whose first field counts where none of `NAMES` is there.

    Raises:
        TypeError: it holds no numbers.
    """
    if isinstance(output, Mapping):
        drawn = next(
            (output[name] for name in NAMES if name in output), next(iter(output.values()))
        )
    elif isinstance(output, (tuple, list)):
        drawn = output[0]
    else:
        found = vars(output) if "__dict__" in dir(output) else {}
        drawn = next((found[name] for name in NAMES if name in found), output)
    return _to_array(drawn)


def _to_array(drawn: Any) -> np.ndarray[Any, Any]:
    if isinstance(drawn, Tensor):
        return drawn.detach().float().cpu().numpy()
    if isinstance(drawn, (list, tuple)):
        return np.stack([_to_array(one) for one in drawn])
    values = np.asarray(drawn)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{type(drawn).__name__} holds no numbers by which runs can be compared.")
    return values / np.float32(255) if values.dtype == np.uint8 else values
