"""The form of a run: what its memory depends on, beside the networks and what is switched on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

PADDED = frozenset({"prompt", "prompt_2", "negative_prompt", "negative_prompt_2"})
"""Words that pipelines of dpnb bring to one length, so that only their number matters."""


def run_form(arguments: Mapping[str, Any], padded: frozenset[str] = frozenset()) -> Hashable:
    """A key that two runs share where they make tensors of the same shapes, as far as known.

    Args:
        arguments: of the run, by name.
        padded: those of which words do not matter, but their number.
    """
    return tuple(
        (name, _count(value) if name in padded else _shape(value))
        for name, value in sorted(arguments.items())
    )


def _count(words: Any) -> Hashable:
    return len(words) if isinstance(words, (list, tuple)) else words is not None


def _shape(value: Any) -> Hashable:
    """What memory can depend on: numbers and words as they are, all else by shape and class."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Tensor, np.ndarray)):
        return tuple(value.shape), str(value.dtype)
    if isinstance(value, Image.Image):
        return value.size, value.mode
    if isinstance(value, (list, tuple)):
        return tuple(map(_shape, value))
    if isinstance(value, Mapping):
        return run_form({str(name): one for name, one in value.items()})
    return type(value).__qualname__
