"""Tiles beside diffusers': the same where they are blended, and nearer to the picture where not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.models.coders import DirectCoder, TiledCoder
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, fill
from tests.reference.checkpoints import diffusers

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def pair() -> tuple[dpnb.AutoencoderKL, Any]:
    """One autoencoder twice, with the same random weights; theirs decodes in tiles of 16 pixels."""
    settings = dict(ARCHITECTURES["tiny-sd"].vae) | {"sample_size": 16}
    ours, theirs = dpnb.AutoencoderKL(**settings), diffusers.AutoencoderKL(**settings)
    fill(ours, torch.float32, torch.Generator().manual_seed(0))
    theirs.load_state_dict(ours.state_dict())
    theirs.eval().enable_tiling()
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize("size", [(16, 16), (40, 17), (12, 33 + 7)])
def test_blended_tiles_are_diffusers(size: tuple[int, int]) -> None:
    ours, theirs = pair()
    z = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(1))
    x = torch.randn(1, 3, 2 * size[0], 2 * size[1], generator=torch.Generator().manual_seed(2))
    coder = TiledCoder(16, blended=True)
    torch.testing.assert_close(coder.decode(ours, z), theirs.decode(z).sample, rtol=0, atol=1e-6)
    expected = theirs.encode(x).latent_dist.parameters
    torch.testing.assert_close(coder.encode(ours, x), expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_strips_are_ten_thousand_times_nearer_to_the_picture() -> None:
    ours, theirs = pair()
    z = torch.randn(1, 4, 40, 40, generator=torch.Generator().manual_seed(1))
    plain = DirectCoder().decode(ours, z)
    near, far = (
        (picture - plain).abs().max()
        for picture in (TiledCoder(16).decode(ours, z), theirs.decode(z).sample)
    )
    assert near * 10_000 <= far
