"""The tensors of an adapter's file, sorted by the layer that they belong to and what they are."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from torch import Tensor

from dpnb.errors import CheckpointError

logger = logging.getLogger(__name__)


class TensorRole(Enum):
    """What a tensor is to its layer."""

    DOWN = r"(?:lora_A(?:\.[^.]+)?|lora_down|lora\.down|lora_linear_layer\.down)\.weight"
    UP = r"(?:lora_B(?:\.[^.]+)?|lora_up|lora\.up|lora_linear_layer\.up)\.weight"
    UP_BIAS = r"(?:lora_B(?:\.[^.]+)?|lora_up)\.bias"
    EMBEDDING_DOWN = r"lora_embedding_A(?:\.[^.]+)?"
    EMBEDDING_UP = r"lora_embedding_B(?:\.[^.]+)?"
    ALPHA = r"(?:(?:lora_A|lora_down|lora\.down|lora_linear_layer\.down)\.weight\.)?alpha"
    WEIGHT_DIFFERENCE = "diff|w_norm"
    BIAS_DIFFERENCE = "diff_b|b_norm"
    WEIGHT = "weight|scale"
    BIAS = "bias"


_ROLES = [(role, re.compile(rf"(.+?)\.(?:{role.value})")) for role in TensorRole]

_LOW_RANK = {TensorRole.DOWN, TensorRole.UP, TensorRole.EMBEDDING_DOWN, TensorRole.EMBEDDING_UP}

_PROCESSOR = re.compile(r"(.+?)(?:\.processor)?\.(to_[qkv]|to_out)_lora\.(down|up)\.weight")
"""How diffusers named the tensors until 0.22."""

_XLABS = re.compile(r"(.+\.processor\.(?:qkv|proj)_lora\d?)\.(down|up)\.weight")

_CLIP_LAYERS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}

_OTHERS: Mapping[str, str] = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "Tucker-decomposed LoRA",
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "oft_": "OFT",
    "lora_controlnet": "a ControlNet in low-rank form",
}
"""What names of other kinds contain."""

_NORM = re.compile(r".*\b(?:norm_(?:added_)?[qk]|(?:query|key)_norm)")
"""What the norms of queries and keys are called, whose weights control LoRAs replace."""

_EMBEDDINGS = re.compile(r"bundle_emb\..*|.*string_to_param.*|emb_params|clip_[lg]|t5(?:xxl)?")
"""Names of vectors for new words of the prompt."""


@dataclass
class LayerTensors:
    """The tensors of one layer, and their names in the file."""

    tensors: dict[TensorRole, Tensor] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


def group_by_layer(tensors: Mapping[str, Tensor]) -> dict[str, LayerTensors]:
    """The tensors that belong to one layer, by its name in the file.

    Names that say nothing are left out where others are those of a LoRA, and told in the log.

    Raises:
        CheckpointError: there is more than plain LoRA, or a tensor that cannot be right.
    """
    found: dict[str, LayerTensors] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        _refuse(name)
        if (split := _split_name(name)) is None:
            unknown.append(name)
            continue
        layer, role = split
        _check(name, role, tensor)
        entry = found.setdefault(layer, LayerTensors())
        entry.names.append(name)
        entry.tensors[role] = tensor
    has_any = any(not _LOW_RANK.isdisjoint(group.tensors) for group in found.values())
    if unknown and not has_any:
        raise CheckpointError(
            f"The adapter holds {unknown[0]!r}, which is no part of a LoRA that dpnb knows; use a "
            "file of LoRA alone."
        )
    for name in unknown:
        logger.warning("The adapter holds %r, which is no part of a LoRA; left out.", name)
    has_any = has_any or all(map(_NORM.fullmatch, found))
    for group in found.values():
        if not has_any and not {TensorRole.WEIGHT, TensorRole.BIAS}.isdisjoint(group.tensors):
            raise CheckpointError(
                f"The adapter holds {group.names[0]!r}, which is no part of a LoRA, and no part of "
                "one beside it; it may be a whole model, which from_pretrained loads."
            )
    return found


def _refuse(name: str) -> None:
    for mark, kind in _OTHERS.items():
        if mark in name:
            raise CheckpointError(
                f"The adapter holds {name!r}, which is {kind}; only plain LoRA can be loaded."
            )
    if _EMBEDDINGS.fullmatch(name):
        raise CheckpointError(
            f"The adapter holds {name!r}, which stands for a new word in prompts, and dpnb loads "
            "no such words; use a file without them."
        )


def _split_name(name: str) -> tuple[str, TensorRole] | None:
    """The layer that a tensor belongs to, and which role it has; `None` for a name of neither."""
    if (match := _PROCESSOR.fullmatch(name)) is not None:
        block, layer, word = match.groups()
        is_text = block.startswith("text_encoder")
        child = _CLIP_LAYERS[layer] if is_text else "to_out.0" if layer == "to_out" else layer
        return f"{block}.{child}", TensorRole.DOWN if word == "down" else TensorRole.UP
    if (match := _XLABS.fullmatch(name)) is not None:
        return match[1], TensorRole.DOWN if match[2] == "down" else TensorRole.UP
    for role, pattern in _ROLES:
        if (match := pattern.fullmatch(name)) is not None:
            layer = match[1].removeprefix("base_model.model.").removesuffix(".base_layer")
            return layer, role
    return None


def _check(name: str, role: TensorRole, tensor: Tensor) -> None:
    """See to it that a tensor may have this role."""
    shape = list(tensor.shape)
    if role is TensorRole.ALPHA:
        if tensor.numel() != 1 or tensor.is_complex() or not tensor.float().isfinite().all():
            raise CheckpointError(
                f"The adapter's {name!r} has the shape {shape}; an alpha is one finite number."
            )
        return
    if not tensor.is_floating_point():
        raise CheckpointError(
            f"The adapter's {name!r} is {tensor.dtype}; its weights must be floating-point numbers."
        )
    if (role in _LOW_RANK and tensor.ndim < 2) or not tensor.numel():
        raise CheckpointError(
            f"The adapter's {name!r} has the shape {shape}; a matrix with a rank of 1 or more is "
            "due there."
        )
    if not tensor.float().isfinite().all():
        raise CheckpointError(
            f"The adapter's {name!r} holds values that are not finite; its training has failed, "
            "use another file."
        )
