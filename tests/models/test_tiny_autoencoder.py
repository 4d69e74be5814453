from __future__ import annotations

from typing import Any

import pytest
import torch

from dpnb import AutoencoderTiny
from dpnb.metering.tensors import TensorMeter
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


@pytest.mark.parametrize("upsample_fn", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("tile", [1, 3, 8, None, 200])
@torch.no_grad()
def test_strips_are_the_whole_picture(upsample_fn: str, tile: int | None) -> None:
    torch.manual_seed(0)
    blocks = {"num_encoder_blocks": (1, 2, 1), "num_decoder_blocks": (2, 1, 1)}
    widths = {f"{part}_block_out_channels": (8, 8, 8) for part in ("encoder", "decoder")}
    vae = AutoencoderTiny(**blocks, **widths, upsample_fn=upsample_fn).eval()
    pictures, rows = torch.rand(2, 3, 100, 24) * 2 - 1, list[int]()
    latents = vae.encode(pictures).latents
    whole = vae.decode(latents).sample
    block: Any = vae.decoder
    block.layers[-1].register_forward_pre_hook(lambda _, args: rows.append(args[0].shape[2]))
    vae.enable_tiling(tile=tile)
    torch.testing.assert_close(vae.encode(pictures).latents, latents)
    torch.testing.assert_close(vae.decode(latents).sample, whole)
    assert max(rows) <= (tile or 32) + 2
    vae.enable_tiling(use_tiling=False)
    assert not vae.use_tiling


@torch.no_grad()
def test_memory_does_not_grow_with_the_height(vae: AutoencoderTiny) -> None:
    def most(height: int) -> int:
        latents = torch.randn(1, 4, height, 16)
        with TensorMeter() as meter:
            vae.decode(latents)
        return int(meter.peak) - 3 * 4 * 4 * height * 16

    vae.enable_tiling(tile=8)
    assert most(512) == most(128)


@pytest.mark.parametrize("what", ["slicing", "tiling"])
def test_a_pipeline_divides_its_work(what: str, vae: AutoencoderTiny) -> None:
    pipe: Any = build("tiny-sd")
    pipe.vae = vae
    plain = _draw(pipe)
    getattr(pipe, f"enable_vae_{what}")()
    assert getattr(vae, f"use_{what}")
    torch.testing.assert_close(_draw(pipe), plain)
    getattr(pipe, f"disable_vae_{what}")()
    assert torch.equal(_draw(pipe), plain)


def _draw(pipe: Any) -> Any:
    given = {"num_inference_steps": 1, "height": 32, "width": 32, "output_type": "pt"}
    return pipe(["a cat", "a dog"], generator=torch.manual_seed(0), **given).images


def test_gradients_flow_while_it_is_divided(vae: AutoencoderTiny) -> None:
    vae.enable_tiling(tile=4)
    latents = torch.randn(1, 4, 16, 16, requires_grad=True)
    vae.decode(latents).sample.sum().backward()
    assert latents.grad is not None


def test_stored_latents_come_back_rounded(vae: AutoencoderTiny) -> None:
    latents = torch.linspace(-3, 3, 50)
    torch.testing.assert_close(vae.unscale_latents(vae.scale_latents(latents)), latents)


def test_levels_must_agree() -> None:
    with pytest.raises(ValueError, match="num_encoder_blocks 3"):
        AutoencoderTiny(**WIDTHS, num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1))
