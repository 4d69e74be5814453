"""Settings of UNets beside those of most checkpoints, side by side with diffusers."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

import dpnb
from dpnb.models.tiny_autoencoder import ACTIVATIONS as OF_AUTOENCODERS
from dpnb.nn.activations import ACTIVATIONS

SHARED: tuple[dict[str, Any], ...] = (
    {"act_fn": "gelu"},
    {"act_fn": "mish"},
    {"act_fn": "relu"},
    {"mid_block_type": None},
    {"mid_block_scale_factor": 2.0},
    {"resnet_time_scale_shift": "scale_shift"},
    {"act_fn": "mish", "class_embed_type": "timestep"},
)

PICTURES: tuple[dict[str, Any], ...] = (
    {"add_attention": False},
    {"attn_norm_num_groups": 2},
    {"attn_norm_num_groups": 2, "resnet_time_scale_shift": "scale_shift"},
)

WORDS: tuple[dict[str, Any], ...] = (
    {"timestep_post_act": "gelu"},
    {"time_embedding_act_fn": "mish"},
    {"cross_attention_norm": "layer_norm"},
    {"resnet_out_scale_factor": 2.0},
    {"resnet_skip_time_act": True},
)

BASE: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "attention_head_dim": 4,
}
WITH_WORDS = {
    **BASE,
    "cross_attention_dim": 8,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
WITHOUT_WORDS = {
    **BASE,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}


def compare(name: str, settings: dict[str, Any], *words: torch.Tensor) -> None:
    """Check that both libraries build the same network and predict the same."""
    torch.manual_seed(0)
    theirs: Any = getattr(diffusers, name)(**settings).eval()
    ours: Any = getattr(dpnb, name)(**settings).eval()
    ours.load_state_dict(theirs.state_dict())
    sample = torch.randn(2, settings.get("in_channels", theirs.config.in_channels), 8, 8)
    labels = torch.tensor([3, 400]) if settings.get("class_embed_type") else None
    with torch.no_grad():
        expected = theirs(sample, 7, *words, class_labels=labels).sample
        predicted = ours(sample, 7, *words, class_labels=labels).sample
    torch.testing.assert_close(predicted, expected, atol=1e-4, rtol=1e-4)
    recorded = ours(sample, 7, *words, class_labels=labels).sample
    torch.testing.assert_close(recorded, predicted)


@pytest.mark.parametrize("changes", [*SHARED, *PICTURES], ids=str)
def test_a_network_without_words_is_built_as_is_said(changes: dict[str, Any]) -> None:
    compare("UNet2DModel", {**WITHOUT_WORDS, **changes})


@pytest.mark.parametrize("changes", [*SHARED, *WORDS], ids=str)
def test_a_network_with_words_is_built_as_is_said(changes: dict[str, Any]) -> None:
    compare("UNet2DConditionModel", {**WITH_WORDS, **changes}, torch.randn(2, 5, 8))


@pytest.mark.parametrize("name", OF_AUTOENCODERS)
def test_an_activation_is_the_same_as_a_function(name: str) -> None:
    x = torch.randn(5, 7)
    torch.testing.assert_close(ACTIVATIONS[name](x.clone()), OF_AUTOENCODERS[name]()(x))
