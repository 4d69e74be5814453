"""Where the weights of one network are, and how they are stored."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb import LayerwiseCasting
from dpnb.errors import StrategyError
from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def test_the_weights_of_one_network_are_stored_small(pipe: Any) -> None:
    whole = pipe.unet.nbytes, pipe.vae.nbytes
    pipe.unet.enable_layerwise_casting(torch.bfloat16, torch.float32)
    assert pipe.strategies.active == {LayerwiseCasting("bfloat16", ("unet",))}
    assert pipe.unet.nbytes < whole[0]
    assert pipe.vae.nbytes == whole[1]
    pipe.vae.enable_layerwise_casting(torch.bfloat16)
    assert pipe.strategies.active == {LayerwiseCasting("bfloat16", ("unet", "vae"))}
    assert pipe.vae.nbytes < whole[1]
    pipe.enable_layerwise_casting("bfloat16")
    with pytest.raises(StrategyError, match="other components than vae, and one dtype serves all"):
        pipe.vae.enable_layerwise_casting("float16")
    pipe.vae.enable_layerwise_casting("bfloat16")
    assert pipe.strategies.active == {LayerwiseCasting("bfloat16")}
    pipe.disable_layerwise_casting()
    assert (pipe.unet.nbytes, pipe.vae.nbytes) == whole


def test_what_is_asked_besides_is_refused(pipe: Any) -> None:
    with pytest.raises(ValueError, match=r"computes in torch\.float32; call to\(torch\.float16\)"):
        pipe.unet.enable_layerwise_casting(compute_dtype=torch.float16)
    with pytest.raises(ValueError, match="skip_modules_classes have no effect"):
        pipe.unet.enable_layerwise_casting(skip_modules_pattern=["norm"])
    assert not pipe.strategies.active


def test_what_serves_a_pipeline_is_told(pipe: Any) -> None:
    with pytest.raises(NotImplementedError, match="for a whole pipeline"):
        pipe.vae.enable_group_offload(torch.device("cuda"))
    with pytest.raises(NotImplementedError, match=r"by dpnb\.DeviceMap"):
        pipe.unet.enable_parallelism(config=None)


def test_a_network_of_no_pipeline_has_it_too() -> None:
    torch.manual_seed(0)
    unet = dpnb.UNet2DModel(
        block_out_channels=(32, 32),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=8,
        attention_head_dim=None,
    ).eval()
    noise = torch.randn(1, 3, 8, 8)
    plain, whole = unet(noise, 5).sample, unet.nbytes
    unet.enable_layerwise_casting(torch.bfloat16)
    assert unet.nbytes < whole
    torch.testing.assert_close(unet(noise, 5).sample, plain, atol=0.1, rtol=0.1)
