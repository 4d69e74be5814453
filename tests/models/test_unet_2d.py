from __future__ import annotations

from typing import Any

import pytest
import torch

from dpnb.models.unet_2d import UNet2DModel

SMALL: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}


def test_a_prediction_has_the_shape_of_its_sample() -> None:
    model = UNet2DModel(**SMALL).eval()
    noise = torch.randn(2, 3, 8, 8)
    plain = model(noise, 7)
    assert plain.sample.shape == noise.shape
    assert torch.equal(model(noise, torch.tensor(7), return_dict=False)[0], plain.sample)
    assert torch.equal(model(noise, torch.tensor([7, 7])).sample, plain.sample)
    assert not torch.equal(model(noise, 8).sample, plain.sample)


def test_the_fraction_of_a_timestep_is_cut_off() -> None:
    model = UNet2DModel(**SMALL).eval()
    noise = torch.randn(2, 3, 8, 8)
    assert torch.equal(model(noise, 7.9).sample, model(noise, 7).sample)
    assert not torch.equal(model(noise, torch.tensor(7.9)).sample, model(noise, 7).sample)


def test_heads_have_as_many_channels_as_is_said() -> None:
    model = UNet2DModel(**{**SMALL, "attention_head_dim": 6}).eval()
    middle: Any = model.mid_block
    attention = middle.attentions[0]
    assert (attention.heads, attention.head_dim) == (16 // 6, 6)
    assert attention.to_q.weight.shape == (12, 16)
    assert model(torch.randn(1, 3, 8, 8), 7).sample.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"attention_head_dim": 17}, "a level that attends has 16 channels"),
        ({"down_block_types": ("DownBlock2D",)}, "cannot build down_block_types"),
        ({"up_block_types": ("UpBlock2D", "Odd")}, "cannot build up_block_types"),
        ({"time_embedding_type": "fourier"}, "does not support time_embedding_type='fourier'"),
        ({"act_fn": "elu"}, "does not support act_fn='elu'"),
    ],
)
def test_what_it_cannot_build_is_said(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        UNet2DModel(**{**SMALL, **changes})
