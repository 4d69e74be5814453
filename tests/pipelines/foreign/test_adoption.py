from __future__ import annotations

import diffusers
import torch

import dpnb
from dpnb.pipelines.foreign.adoption import adopt


def test_what_is_not_of_diffusers_stays_itself() -> None:
    part = object()
    assert adopt(part) is part


def test_a_scheduler_is_built_from_its_settings() -> None:
    scheduler = adopt(diffusers.DDIMScheduler(beta_start=0.002))
    assert type(scheduler) is dpnb.DDIMScheduler
    assert scheduler.config.beta_start == 0.002


def test_a_network_is_ours_around_the_same_tensors() -> None:
    part = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=2)
    vae = adopt(part.eval())
    assert type(vae) is dpnb.AutoencoderKL
    assert not vae.training
    ours, theirs = vae.state_dict(), part.state_dict()
    assert {k: v.data_ptr() for k, v in ours.items()} == {
        k: v.data_ptr() for k, v in theirs.items()
    }
    latents = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(vae.decode(latents).sample, part.decode(latents).sample)
