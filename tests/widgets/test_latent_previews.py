"""Latents become maps, whatever shape they have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dpnb.widgets.latent_previews import LatentPreviews, arrange_latents

MAPS = torch.randn(2, 4, 6, 12)


def test_maps_stay_as_they_are() -> None:
    assert arrange_latents(MAPS, (1, 1)) is MAPS


def test_packed_latents_are_laid_out_by_the_pictures_shape() -> None:
    packed = MAPS.flatten(2).movedim(1, -1)
    found = arrange_latents(packed, (48, 96))
    assert found is not None
    assert torch.equal(found, MAPS)
    assert arrange_latents(packed, (48, 64)) is None


def test_of_a_video_the_middle_frame_is_taken() -> None:
    film = torch.stack([MAPS - 1, MAPS, MAPS + 1], dim=2)
    found = arrange_latents(film, (1, 1))
    assert found is not None
    assert torch.equal(found, MAPS)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 3, 4, 5, 6)])
def test_what_cannot_be_arranged_shows_nothing(shape: tuple[int, ...]) -> None:
    assert arrange_latents(torch.zeros(shape), (1, 1)) is None


def test_colours_are_learnt_once_and_painted() -> None:
    previews = LatentPreviews(None)
    assert previews.paint(MAPS, (6, 12)) is None
    levels = ((MAPS[:, :3].clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).numpy()
    pictures = [Image.fromarray(one) for one in levels]
    latents = MAPS.clamp(-1, 1)
    previews.learn(latents.flatten(2).movedim(1, -1), pictures)
    painted = previews.paint(latents, (6, 12))
    assert painted is not None
    for one, other in zip(painted, pictures, strict=True):
        assert np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max() <= 3
    assert previews.paint(torch.randn(1, 7, 6, 12), (6, 12)) is None
