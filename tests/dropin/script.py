"""Runs a script against diffusers and against dpnb, and compares what it has made."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

TOLERANCE = 2e-3
"""By which numbers may differ, relative to the largest of them: other orders of the same sums."""

LEVELS = 2
"""By which values of a picture may differ, of 255."""


@dataclass(frozen=True)
class Script:
    """Lines that somebody has written for diffusers, and that end with a `result`.

    Args:
        name: what they are about.
        source: the lines. They know the names of `places`, and `HERE`, a folder of their own.
    """

    name: str
    source: str

    def run(self, library: str, places: Mapping[str, Any]) -> Any:
        """What `result` is in the end.

        Args:
            library: `"diffusers"` or `"dpnb"`, which is imported in place of it.
            places: names that the lines may use: folders of checkpoints, pictures.
        """
        names = {**places}
        with tempfile.TemporaryDirectory() as here, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names["HERE"] = Path(here)
            torch.manual_seed(0)
            exec(compile(self._with_import_of(library), self.name, "exec"), names)
            return _settle(names["result"])

    def _with_import_of(self, library: str) -> str:
        if library == "diffusers":
            return self.source
        changed = re.sub(
            r"^import diffusers$", f"import {library} as diffusers", self.source, flags=re.M
        )
        return re.sub(r"^from diffusers\b", f"from {library}", changed, flags=re.M)


def _settle(value: Any) -> Any:
    """What a script has made, read before its folder goes."""
    if isinstance(value, Image.Image):
        return value.copy()
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (str, bytes)) or not isinstance(value, (Mapping, list, tuple, set)):
        return value
    if isinstance(value, Mapping):
        return {key: _settle(item) for key, item in value.items()}
    return [_settle(item) for item in (sorted(value) if isinstance(value, set) else value)]


def find_difference(theirs: Any, ours: Any, where: str = "result") -> str | None:
    """In which way `ours` is another result than `theirs`; `None` where it is none."""
    if isinstance(theirs, Image.Image):
        return _compare_numbers(np.asarray(theirs), np.asarray(ours), where, LEVELS)
    if isinstance(theirs, (Tensor, np.ndarray)) and isinstance(ours, (Tensor, np.ndarray)):
        return _compare_numbers(_array(theirs), _array(ours), where, None)
    if isinstance(theirs, (nn.Module, type)):
        named = (_name(theirs), _name(ours))
        return None if named[0] == named[1] else f"{where}: {named[1]} in place of {named[0]}"
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        if theirs.keys() != ours.keys():
            return f"{where} has {sorted(map(str, ours))} in place of {sorted(map(str, theirs))}"
        pairs = [(key, theirs[key], ours[key]) for key in theirs]
    elif isinstance(theirs, (list, tuple)) and isinstance(ours, (list, tuple)):
        if len(theirs) != len(ours):
            return f"{where} has {len(ours)} entries in place of {len(theirs)}"
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(theirs, ours, strict=True))]
    elif isinstance(theirs, float) and isinstance(ours, (int, float)):
        return _compare_numbers(np.asarray(theirs), np.asarray(ours), where, None)
    else:
        return None if theirs == ours else f"{where} is {ours!r:.80} in place of {theirs!r:.80}"
    return next(filter(None, (find_difference(a, b, f"{where}.{k}") for k, a, b in pairs)), None)


def _compare_numbers(theirs: Any, ours: Any, where: str, most: float | None) -> str | None:
    if theirs.shape != ours.shape:
        return f"{where} has shape {ours.shape} in place of {theirs.shape}"
    if theirs.dtype.kind != ours.dtype.kind:
        return f"{where} is of {ours.dtype} in place of {theirs.dtype}"
    if theirs.size == 0 or theirs.dtype.kind not in "fiu":
        return None if np.array_equal(theirs, ours) else f"{where} differs"
    gap = float(np.abs(theirs.astype(float) - ours.astype(float)).max())
    allowed = most if most is not None else TOLERANCE * max(1.0, float(np.abs(theirs).max()))
    return None if gap <= allowed else f"{where} differs by {gap:.3g}"


def _array(value: Any) -> Any:
    return (
        value.detach().float().numpy()
        if isinstance(value, Tensor) and value.is_floating_point()
        else np.asarray(value)
    )


def _name(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__
