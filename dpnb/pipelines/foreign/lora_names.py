"""Names of low-rank weights, from those of peft to former ones and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

UNTOLD = (
    "these are no low-rank weights by names of peft or of former releases; give those of "
    "peft.get_peft_model_state_dict(network)."
)

OF_PEFT = re.compile(r"(to_[qkv]|to_out\.0|(?:[qkv]|out)_proj)\.lora_([AB])")
FORMER = re.compile(r"\.to_([qkv]|out)_lora\.(down|up)")
PLAIN = re.compile(r"\.lora\.(down|up)")

ROLES = {"A": "down", "B": "up", "down": "A", "up": "B"}
"""What the two matrices of a product are called."""


def convert_state_dict_to_diffusers(
    state_dict: Mapping[str, Tensor], original_type: None = None, **options: Any
) -> dict[str, Tensor]:
    """Low-rank weights by the names that files had before they had peft's.

    Args:
        state_dict: by the names of peft, or by former ones.
        original_type: must be `None`: it is found out.
        options: have no effect.

    Raises:
        ValueError: they are no low-rank weights, or their names are said to be of a kind.
    """
    if original_type is not None:
        raise ValueError(f"original_type is {original_type}; leave it out: names tell their kind.")
    if any(FORMER.search(name) for name in state_dict):
        return _rename(state_dict, FORMER, r".\1_proj.lora_linear_layer.\2")
    if any(".lora_A" in name for name in state_dict):
        return {_of_file(name): value for name, value in state_dict.items()}
    if any("lora_linear_layer" in name for name in state_dict):
        return dict(state_dict)
    raise ValueError(UNTOLD)


def convert_unet_state_dict_to_peft(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Low-rank weights of a network by the names of peft, from those of files."""
    renamed = {}
    for name, value in state_dict.items():
        plain = FORMER.sub(_split_former, name.replace(".processor.", "."))
        renamed[PLAIN.sub(lambda found: f".lora_{ROLES[found[1]]}", plain)] = value
    return renamed


def _of_file(name: str) -> str:
    def renamed(found: re.Match[str]) -> str:
        kind = "lora_linear_layer" if found[1].endswith("_proj") else "lora"
        return f"{found[1]}.{kind}.{ROLES[found[2]]}"

    return OF_PEFT.sub(renamed, name.replace(".processor.", "."))


def _split_former(found: re.Match[str]) -> str:
    layer = "out.0" if found[1] == "out" else found[1]
    return f".to_{layer}.lora_{ROLES[found[2]]}"


def _rename(
    weights: Mapping[str, Tensor], pattern: re.Pattern[str], form: str
) -> dict[str, Tensor]:
    return {
        pattern.sub(form, name.replace(".processor.", ".")): value
        for name, value in weights.items()
    }
