"""How the weights of a file agreed with those of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoadingInfo:
    """Names of weights: lacking in the file, unknown to the model, and of another shape there."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
