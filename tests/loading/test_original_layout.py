from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.errors import CheckpointError
from dpnb.loading.original_layout import convert_part

DOUBLE = {
    "img_attn.qkv.weight": ("attn.to_q.weight", "attn.to_k.weight", "attn.to_v.weight"),
    "img_attn.qkv.bias": ("attn.to_q.bias", "attn.to_k.bias", "attn.to_v.bias"),
    "txt_attn.qkv.weight": (
        "attn.add_q_proj.weight",
        "attn.add_k_proj.weight",
        "attn.add_v_proj.weight",
    ),
    "img_attn.norm.query_norm.scale": ("attn.norm_q.weight",),
    "txt_attn.norm.key_norm.scale": ("attn.norm_added_k.weight",),
    "txt_attn.proj.weight": ("attn.to_add_out.weight",),
    "img_mlp.0.bias": ("ff.net.0.proj.bias",),
    "txt_mlp.2.weight": ("ff_context.net.2.weight",),
    "txt_mod.lin.weight": ("norm1_context.linear.weight",),
}
SINGLE = {
    "linear1.weight": (
        "attn.to_q.weight",
        "attn.to_k.weight",
        "attn.to_v.weight",
        "proj_mlp.weight",
    ),
    "norm.key_norm.scale": ("attn.norm_k.weight",),
    "linear2.bias": ("proj_out.bias",),
    "modulation.lin.weight": ("norm.linear.weight",),
}


@pytest.fixture
def weights() -> dict[str, Tensor]:
    pipe: Any = dpnb.random_pipeline("tiny-flux")
    state: dict[str, Tensor] = pipe.transformer.state_dict()
    return state


def test_joined_rows_of_flux_are_divided(weights: dict[str, Tensor]) -> None:
    blocks = {"double_blocks.0": ("transformer_blocks.0", DOUBLE)}
    blocks |= {"single_blocks.0": ("single_transformer_blocks.0", SINGLE)}
    file: dict[str, Tensor] = {}
    own: dict[str, Tensor] = {}
    for theirs, (ours, table) in blocks.items():
        for name, parts in table.items():
            names = [f"{ours}.{part}" for part in parts]
            own |= {name: weights[name] for name in names}
            joined = torch.cat([weights[name] for name in names])
            file[f"model.diffusion_model.{theirs}.{name}"] = joined
    found = convert_part("transformer", "FluxTransformer2DModel", own, file)
    assert found.keys() == own.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in own.items())


def test_the_last_modulation_changes_its_halves(weights: dict[str, Tensor]) -> None:
    name = "norm_out.linear.weight"
    block = "transformer_blocks.0.norm1.linear.weight"
    shift, scale = weights[name].chunk(2)
    file = {
        "final_layer.adaLN_modulation.1.weight": torch.cat((scale, shift)),
        "double_blocks.0.img_mod.lin.weight": weights[block],
    }
    own = {key: weights[key] for key in (name, block)}
    found = convert_part("transformer", "FluxTransformer2DModel", own, file)
    assert torch.equal(found[name], weights[name])


def test_a_network_that_is_not_there_is_named() -> None:
    with pytest.raises(CheckpointError, match="pass it as text_encoder"):
        convert_part("text_encoder", "CLIPTextModel", {"a.weight": torch.ones(1)}, {})


def test_names_of_ours_are_taken_as_they_are() -> None:
    own = {"decoder.conv_in.weight": torch.zeros(2)}
    file = {"decoder.conv_in.weight": torch.ones(2)}
    assert convert_part("vae", "AutoencoderKL", own, file) == file
