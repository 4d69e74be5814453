"""Embeddings of classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb

SMALL: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "norm_num_groups": 8,
    "layers_per_block": 1,
}
WITH_WORDS: dict[str, Any] = {
    **SMALL,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 16,
}
WITHOUT_WORDS: dict[str, Any] = {
    **SMALL,
    "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D"),
}

KINDS = [
    ({"num_class_embeds": 10}, torch.tensor([3, 4])),
    ({"class_embed_type": "timestep"}, torch.tensor([3, 400])),
    ({"class_embed_type": "identity"}, torch.randn(2, 128)),
    (
        {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 7},
        torch.randn(2, 7),
    ),
    (
        {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 7},
        torch.randn(2, 7),
    ),
]


def predict(network: Any, labels: torch.Tensor | None) -> torch.Tensor:
    torch.manual_seed(1)
    sample = torch.randn(2, network.config.in_channels, 8, 8)
    words = (torch.randn(2, 5, 16),) if isinstance(network, dpnb.UNet2DConditionModel) else ()
    with torch.no_grad():
        predicted: torch.Tensor = network(sample, 5, *words, class_labels=labels).sample
    return predicted


@pytest.mark.parametrize(("settings", "labels"), KINDS)
def test_each_entry_has_its_own_class(settings: dict[str, Any], labels: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = dpnb.UNet2DConditionModel(**WITH_WORDS, **settings).eval()
    given, turned = predict(network, labels), predict(network, labels.flip(0))
    assert (given - turned).abs().max() > 1e-3
    torch.testing.assert_close(predict(network, labels), given)


@pytest.mark.parametrize(("settings", "labels"), KINDS[:3])
def test_networks_without_words_know_classes(
    settings: dict[str, Any], labels: torch.Tensor
) -> None:
    torch.manual_seed(0)
    network = dpnb.UNet2DModel(**WITHOUT_WORDS, **settings).eval()
    assert (predict(network, labels) - predict(network, labels.flip(0))).abs().max() > 1e-3


def test_labels_that_are_missing_or_not_wanted_are_refused() -> None:
    knowing = dpnb.UNet2DConditionModel(**WITH_WORDS, num_class_embeds=10)
    with pytest.raises(ValueError, match="class_labels is missing; this network was trained with"):
        predict(knowing, None)
    with pytest.raises(ValueError, match="class_labels has no effect on this network"):
        predict(dpnb.UNet2DModel(**WITHOUT_WORDS), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="'projection' needs projection_class_embeddings_input_d"):
        dpnb.UNet2DConditionModel(**WITH_WORDS, class_embed_type="projection")
