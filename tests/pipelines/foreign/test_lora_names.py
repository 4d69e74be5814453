"""Names of low-rank weights, side by side with diffusers'."""

from __future__ import annotations

import pytest
import torch
from diffusers.utils import state_dict_utils as theirs

from dpnb import utils

LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")

PEFT = [f"a.{layer}.lora_{part}.weight" for layer in (*LAYERS, *TEXT) for part in "AB"]
FORMER = [
    f"a.processor.to_{layer}_lora.{part}.weight"
    for layer in ("q", "k", "v", "out")
    for part in ("up", "down")
]
FILES = [f"a.{layer}.lora.{part}.weight" for layer in LAYERS for part in ("up", "down")]
LINEAR = [f"a.{layer}.lora_linear_layer.up.weight" for layer in TEXT]


@pytest.mark.parametrize("names", [PEFT, FORMER, LINEAR])
def test_names_of_files_are_those_of_diffusers(names: list[str]) -> None:
    weights = {name: torch.tensor(i) for i, name in enumerate(names)}
    ours = utils.convert_state_dict_to_diffusers(weights)
    assert ours == theirs.convert_state_dict_to_diffusers(dict(weights))


@pytest.mark.parametrize("names", [PEFT, FORMER, FILES])
def test_names_of_peft_are_those_of_diffusers(names: list[str]) -> None:
    weights = {name: torch.tensor(i) for i, name in enumerate(names)}
    ours = utils.convert_unet_state_dict_to_peft(weights)
    assert ours == theirs.convert_unet_state_dict_to_peft(dict(weights))


def test_other_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="no low-rank weights by names of peft"):
        utils.convert_state_dict_to_diffusers({"a.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="leave it out: names tell their kind"):
        utils.convert_state_dict_to_diffusers({}, "peft")
