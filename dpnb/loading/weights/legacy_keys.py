"""Names that weights had in older checkpoints, and the names they have here: tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from torch import Tensor

OLD_ATTENTION: Mapping[str, str] = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}
"""Projections of an attention block as diffusers named them until 0.13; its `group_norm` stayed."""

CLIP_PREFIXES: tuple[tuple[str, str], ...] = (
    ("text_model.", ""),
    ("vision_model.vision_model.", "vision_model."),
    ("vision_model.", ""),
)
"""How transformers nests CLIP: until 5.5 as on the left, since then partly as on the right."""

_OLD_NAME = re.compile(r"(.*\battentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)")


def rename_legacy_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with old attention names replaced, and the 1×1 convolutions there as matrices.

    The tensors are the same or views of them. Names of today come back as they are.
    """
    return dict(_rename(name, tensor) for name, tensor in state.items())


def match_clip_keys(state: Mapping[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """`state` under the names in `expected`, however deep either side nests CLIP's towers.

    Names with no counterpart stay; `position_ids`, which is computed today, is left out.
    """
    return {
        _nested_as(name, expected): tensor
        for name, tensor in state.items()
        if name.rpartition(".")[2] != "position_ids"
    }


def _rename(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    match = _OLD_NAME.fullmatch(name)
    if match is None:
        return name, tensor
    block, projection, kind = match.groups()
    is_convolution = tensor.ndim == 4 and tensor.shape[2:] == (1, 1)
    return f"{block}.{OLD_ATTENTION[projection]}.{kind}", (
        tensor.flatten(1) if is_convolution else tensor
    )


def _nested_as(name: str, expected: Collection[str]) -> str:
    if name in expected:
        return name
    for pair in CLIP_PREFIXES:
        for prefix, other in (pair, pair[::-1]):
            candidate = other + name.removeprefix(prefix)
            if name.startswith(prefix) and candidate in expected:
                return candidate
    return name
