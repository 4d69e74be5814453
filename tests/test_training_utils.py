"""What training scripts need, beside diffusers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from diffusers import training_utils as theirs
from torch import nn

import dpnb
from dpnb import training_utils as ours


@pytest.mark.parametrize("scheme", ["logit_normal", "mode", "sigma_sqrt", "none"])
def test_times_are_drawn_alike(scheme: str) -> None:
    drawn = [
        library.compute_density_for_timestep_sampling(
            scheme, 64, 0.1, 1.2, 1.29, generator=torch.Generator().manual_seed(0)
        )
        for library in (ours, theirs)
    ]
    torch.testing.assert_close(*drawn)
    assert drawn[0].shape == (64,)


@pytest.mark.parametrize("scheme", ["sigma_sqrt", "cosmap", "logit_normal"])
def test_losses_weigh_alike(scheme: str) -> None:
    sigmas = torch.linspace(0.1, 1, 7)
    torch.testing.assert_close(
        ours.compute_loss_weighting_for_sd3(scheme, sigmas),
        theirs.compute_loss_weighting_for_sd3(scheme, sigmas),
    )


def test_signal_and_noise_are_those_of_the_schedule() -> None:
    scheduler, timesteps = dpnb.DDPMScheduler(), torch.tensor([0, 400, 999])
    torch.testing.assert_close(
        ours.compute_snr(scheduler, timesteps), theirs.compute_snr(scheduler, timesteps)
    )


def test_a_seed_makes_chance_repeat() -> None:
    drawn = []
    for _ in range(2):
        ours.set_seed(3)
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("count", [1, 2])
def test_trained_parameters_are_cast_and_no_others(count: int) -> None:
    networks = [nn.Linear(2, 2).half() for _ in range(count)]
    for network in networks:
        network.bias.requires_grad_(False)
    ours.cast_training_params(networks if count > 1 else networks[0], torch.float64)
    for network in networks:
        assert (network.weight.dtype, network.bias.dtype) == (torch.float64, torch.float16)


def test_memory_that_nothing_refers_to_is_freed() -> None:
    freed: list[str] = []

    class Ring:
        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            freed.append("ring")

    Ring()
    ours.free_memory()
    assert freed == ["ring"]


def test_mistakes_are_sentences() -> None:
    with pytest.raises(ValueError, match="weighting_scheme is 'cosine'; it is one of"):
        ours.compute_density_for_timestep_sampling("cosine", 2)
    with pytest.raises(ValueError, match="weighting_scheme is 'cosine'; it is one of"):
        ours.compute_loss_weighting_for_sd3("cosine", torch.ones(1))
    with pytest.raises(ValueError, match="mode_scale is None, and this weighting_scheme needs it"):
        ours.compute_density_for_timestep_sampling("mode", 2)
