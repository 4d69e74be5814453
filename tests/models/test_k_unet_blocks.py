"""UNets that normalise by the time embedding."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import StrategyError
from tests.pipelines.derived import derive, draw

KIND = dpnb.StableDiffusionLatentUpscalePipeline


def test_every_switch_that_can_serve_does() -> None:
    pipe = derive(KIND)
    plain = draw(pipe)
    for strategy in (
        dpnb.ConditioningCache(),
        dpnb.QKVFusion(),
        dpnb.AttentionSlicing(),
        dpnb.ChannelsLast(),
        dpnb.SequentialOffload("3MiB", "simulated:64GiB/s"),
    ):
        with pipe.strategies.using(strategy):
            torch.testing.assert_close(draw(pipe), plain, atol=2e-5, rtol=0)
    assert torch.equal(draw(pipe), plain)
    with pytest.raises(StrategyError, match="FreeU needs a UNet with up-blocks"):
        pipe.strategies.enable(dpnb.FreeU())


def test_gradients_reach_every_weight() -> None:
    unet: Any = derive(KIND).unet.train()
    config = unet.config
    words = torch.randn(1, 3, config.cross_attention_dim)
    condition = torch.randn(1, config.time_cond_proj_dim)
    sample = torch.randn(1, config.in_channels, 8, 8)
    unet(sample, 0.3, words, timestep_cond=condition).sample.square().mean().backward()
    without = [name for name, weight in unet.named_parameters() if weight.grad is None]
    assert without == ["time_proj.weight"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mid_block_type": "UNetMidBlock2DCrossAttn"}, "does not support mid_block_type="),
        ({"num_class_embeds": 10}, "does not support num_class_embeds=10"),
        ({"class_embed_type": "timestep"}, "does not support class_embed_type='timestep'"),
        ({"act_fn": "silu"}, "does not support act_fn='silu'"),
        ({"down_block_types": ("KDownBlock2D", "DownBlock2D")}, "cannot build down_block_types"),
        ({"down_block_types": ("KDownBlock2D",) * 2}, "whose coarsest level does not attend"),
    ],
)
def test_what_it_cannot_build_is_said(changes: dict[str, Any], said: str) -> None:
    config = derive(KIND).unet.config
    with pytest.raises(ValueError, match=said):
        dpnb.UNet2DConditionModel.from_config({**config, **changes})


def test_residuals_of_others_are_refused() -> None:
    unet = derive(KIND).unet
    config = unet.config
    words = torch.randn(1, 3, config.cross_attention_dim)
    condition = torch.randn(1, config.time_cond_proj_dim)
    with pytest.raises(ValueError, match="mid_block_additional_residual has no effect"):
        unet(
            torch.randn(1, config.in_channels, 8, 8),
            0.3,
            words,
            timestep_cond=condition,
            mid_block_additional_residual=torch.zeros(1),
        )
    with pytest.raises(ValueError, match="class_labels has no effect on this network"):
        unet(
            torch.randn(1, config.in_channels, 8, 8),
            0.3,
            words,
            torch.tensor([1]),
            timestep_cond=condition,
        )


def test_others_need_their_groups() -> None:
    with pytest.raises(ValueError, match="norm_num_groups is None, and UNet2DConditionModel norm"):
        dpnb.UNet2DConditionModel(norm_num_groups=None)
