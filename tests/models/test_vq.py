from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import dpnb
from dpnb.models import vq
from dpnb.models.vq import Codebook


def build(**settings: Any) -> dpnb.VQModel:
    torch.manual_seed(0)
    model = dpnb.VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        **settings,
    )
    nn.init.normal_(model.quantize.embedding.weight)
    return model.eval()


@pytest.mark.parametrize("at_once", [1, 7, 1024])
def test_every_latent_becomes_the_nearest_entry(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vq, "LATENTS_AT_ONCE", at_once)
    torch.manual_seed(1)
    book = Codebook(9, 3)
    latents = torch.randn(2, 3, 4, 5)
    found, loss, (_, _, indices) = book(latents)
    flat = latents.permute(0, 2, 3, 1).reshape(-1, 1, 3)
    nearest = (flat - book.embedding.weight).square().sum(dim=-1).argmin(dim=1)
    expected = book.embedding.weight[nearest].view(2, 4, 5, 3).permute(0, 3, 1, 2)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(indices, nearest)
    assert torch.equal(book.get_codebook_entry(indices, (2, 4, 5, 3)), expected)
    assert torch.allclose(loss, 1.25 * (expected - latents).square().mean())


def test_gradients_pass_through_the_codebook() -> None:
    latents = torch.randn(1, 3, 2, 2, requires_grad=True)
    found, *_ = Codebook(9, 3)(latents)
    found.sum().backward()
    assert latents.grad is not None
    assert torch.equal(latents.grad, torch.ones_like(latents))


@torch.no_grad()
def test_it_is_tiled_and_sliced_as_another_autoencoder_is() -> None:
    model = build()
    pictures = torch.rand(3, 3, 24, 16)
    plain = model(pictures).sample
    model.enable_tiling(tile=2)
    model.enable_slicing()
    assert torch.allclose(model(pictures).sample, plain, atol=1e-5)
    model.disable_tiling()
    model.disable_slicing()
    assert torch.equal(model(pictures).sample, plain)


def test_what_it_cannot_build_is_refused() -> None:
    with pytest.raises(ValueError, match="VQModel does not support norm_type='spatial'"):
        build(norm_type="spatial")
    with pytest.raises(ValueError, match="VQModel cannot build the blocks"):
        dpnb.VQModel(block_out_channels=(8, 8))
