from __future__ import annotations

from typing import Any

import pytest
import torch

from dpnb import AutoencoderTiny
from dpnb.errors import StrategyError
from tests.strategies.pipes import build

WIDTHS = {"encoder_block_out_channels": (16, 16), "decoder_block_out_channels": (16, 16)}


@pytest.fixture
def vae() -> AutoencoderTiny:
    torch.manual_seed(0)
    return AutoencoderTiny(**WIDTHS, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1)).eval()


@torch.no_grad()
def test_slices_and_the_batch_decode_alike(vae: AutoencoderTiny) -> None:
    latents = torch.randn(3, 4, 8, 8)
    whole = vae.decode(latents).sample
    vae.enable_slicing()
    torch.testing.assert_close(vae.decode(latents).sample, whole)
    assert whole.shape == (3, 3, 16, 16)


@torch.no_grad()
def test_tiles_are_close_to_the_whole_and_no_others_within(vae: AutoencoderTiny) -> None:
    latents = torch.randn(1, 4, 96, 80)
    whole = vae.decode(latents).sample
    vae.enable_tiling()
    tiled = vae.decode(latents).sample
    assert tiled.shape == whole.shape
    torch.testing.assert_close(tiled[..., :64, :64], whole[..., :64, :64])
    small = latents[..., :32, :32]
    torch.testing.assert_close(vae.decode(small).sample, vae.decoder(small))


@pytest.mark.parametrize("what", ["slicing", "tiling"])
def test_a_pipeline_says_how_its_work_is_divided(what: str, vae: AutoencoderTiny) -> None:
    pipe: Any = build("tiny-sd")
    pipe.vae = vae
    with pytest.raises(StrategyError, match=rf"call pipe\.vae\.enable_{what}\(\)\.$"):
        getattr(pipe, f"enable_vae_{what}")()
    assert not pipe.strategies.active
    getattr(pipe.vae, f"enable_{what}")()
    given = {"num_inference_steps": 1, "height": 32, "width": 32}
    assert len(pipe(["a cat", "a dog"], **given).images) == 2


def test_stored_latents_come_back_rounded(vae: AutoencoderTiny) -> None:
    latents = torch.linspace(-3, 3, 50)
    torch.testing.assert_close(vae.unscale_latents(vae.scale_latents(latents)), latents)


def test_levels_must_agree() -> None:
    with pytest.raises(ValueError, match="num_encoder_blocks 3"):
        AutoencoderTiny(**WIDTHS, num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1))
