"""Loops of FLUX of one's own begin and see what a run does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.pipelines.flux_patches import pack
from tests.pipelines.derived import CONDITIONED, FLUX, KONTEXT, MASK, PICTURE, derive, draw

PLACE = (torch.float32, "cpu")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def picture(pipe: Any) -> Tensor:
    made: Tensor = pipe.image_processor.preprocess(PICTURE, height=32, width=32)
    return made


def first_tokens(pipe: Any, **given: Any) -> Tensor:
    """What the network sees in the first step of a run of four."""
    seen: list[Tensor] = []
    hook = pipe.transformer.register_forward_pre_hook(
        lambda _, args, named: seen.append(named["hidden_states"]), with_kwargs=True
    )
    draw(pipe, generator=seeded(), **given)
    hook.remove()
    return seen[0]


def begin(pipe: Any, strength: float) -> tuple[Any, ...]:
    """The arguments of `prepare_latents` in a run of four steps."""
    tokens = (32 // (2 * pipe.vae_scale_factor)) ** 2
    mu = pipe.scheduler.config.mu_for(tokens)
    pipe.scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25], mu=mu)
    timesteps, _ = pipe.get_timesteps(4, strength)
    count = pipe.vae.config.latent_channels
    return picture(pipe), timesteps[:1], 1, count, 32, 32, *PLACE, seeded()


@pytest.mark.parametrize("kind", [*FLUX, dpnb.FluxFillPipeline])
@pytest.mark.parametrize("strength", [0.55, 0.9])
def test_a_loop_begins_where_a_run_does(kind: Any, strength: float) -> None:
    pipe = derive(kind)
    seen = first_tokens(pipe, strength=strength)
    latents, *_ = pipe.prepare_latents(*begin(pipe, strength))
    assert torch.allclose(seen[..., : latents.shape[-1]], latents, atol=1e-5)


def test_a_filling_network_sees_every_pixel_of_the_mask() -> None:
    pipe = derive(dpnb.FluxFillPipeline)
    seen = first_tokens(pipe, strength=0.9)
    generator, x = seeded(), picture(pipe)
    pipe.prepare_latents(*begin(pipe, 0.9)[:-1], generator)
    mask = pipe.mask_processor.preprocess(MASK, height=32, width=32)
    count = pipe.vae.config.latent_channels
    pixels, rest = pipe.prepare_mask_latents(
        mask, x * (1 - mask), 1, count, 1, 32, 32, *PLACE, generator
    )
    beside = torch.cat((rest, pixels), dim=-1)
    assert torch.allclose(seen[..., -beside.shape[-1] :], beside, atol=1e-5)


def test_a_part_that_is_filled_in_has_a_mask_for_every_channel() -> None:
    pipe = derive(FLUX[1])
    mask = pipe.mask_processor.preprocess(MASK, height=32, width=32)
    count = pipe.vae.config.latent_channels
    small, rest = pipe.prepare_mask_latents(
        mask, picture(pipe), 1, count, 2, 32, 32, *PLACE, seeded()
    )
    assert small.shape == rest.shape
    assert len(small) == 2
    with pytest.raises(ValueError, match="mask has 2 entries for 3 pictures"):
        pipe.prepare_mask_latents(
            torch.cat((mask, mask)), picture(pipe), 3, count, 1, 32, 32, *PLACE, seeded()
        )


def test_noise_that_is_given_is_noise_where_a_part_is_filled_in() -> None:
    pipe = derive(FLUX[1])
    arguments = begin(pipe, 1.0)
    side = 32 // pipe.vae_scale_factor
    noise = torch.randn(1, arguments[3], side, side, generator=seeded())
    latents, again, known, ids = pipe.prepare_latents(*arguments, noise)
    assert torch.equal(latents, pack(noise))
    assert torch.equal(again, latents)
    assert known.shape == latents.shape
    assert len(ids) == latents.shape[1]


def test_a_picture_that_is_taken_up_stands_beside_the_others() -> None:
    pipe = derive(CONDITIONED[2])
    count = pipe.vae.config.latent_channels
    seen = first_tokens(pipe, **KONTEXT)
    latents, tokens, ids, places = pipe.prepare_latents(
        picture(pipe), 1, count, 32, 32, *PLACE, seeded()
    )
    assert torch.allclose(seen, torch.cat((latents, tokens), dim=1), atol=1e-5)
    assert {*ids[:, 0].tolist()} == {0.0}
    assert {*places[:, 0].tolist()} == {1.0}
    alone = pipe.prepare_latents(None, 1, count, 32, 32, *PLACE, seeded())
    assert alone[1] is alone[3] is None
    assert torch.equal(alone[0], latents)
