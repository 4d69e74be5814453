"""Names of ways to compute attention, by the path that scripts import them from."""

from __future__ import annotations

from typing import Any

from dpnb.module_paths import find_elsewhere
from dpnb.nn.attention_processors import (
    AttentionProcessor,
    AttnProcessor,
    AttnProcessor2_0,
    PAGCFGIdentitySelfAttnProcessor2_0,
    PAGIdentitySelfAttnProcessor2_0,
    XFormersAttnProcessor,
)

__all__ = [
    "AttentionProcessor",
    "AttnProcessor",
    "AttnProcessor2_0",
    "PAGCFGIdentitySelfAttnProcessor2_0",
    "PAGIdentitySelfAttnProcessor2_0",
    "XFormersAttnProcessor",
]


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)
