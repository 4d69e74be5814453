"""Laws of timesteps and noise levels."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from dpnb.schedulers import EulerDiscreteScheduler, spacing
from dpnb.schedulers.ays import AysSchedules
from dpnb.schedulers.lms import lagrange_integrals
from dpnb.schedulers.spacing import Array, SigmaSpacing, TimestepSpacing

SPACINGS: tuple[TimestepSpacing, ...] = get_args(TimestepSpacing)
SIGMA_SPACINGS: tuple[SigmaSpacing, ...] = get_args(SigmaSpacing)


def log_sigmas() -> Array:
    return np.linspace(-3.5, 2.7, 1000)


@pytest.mark.parametrize("kind", SPACINGS)
def test_timesteps_are_as_many_as_asked_and_descend(kind: TimestepSpacing) -> None:
    for count in range(1, 1001):
        timesteps = spacing.space_timesteps(kind, count, 1000)
        assert len(timesteps) == count
        assert (np.diff(timesteps) < 0).all()
        assert timesteps.min() >= 0
        assert timesteps.max() <= 999


def test_each_spacing_keeps_its_ends() -> None:
    assert spacing.space_timesteps("linspace", 10, 1000)[[0, -1]].tolist() == [999, 0]
    assert spacing.space_timesteps("leading", 10, 1000)[[0, -1]].tolist() == [900, 0]
    assert spacing.space_timesteps("trailing", 10, 1000)[[0, -1]].tolist() == [999, 99]


def test_the_offset_moves_leading_timesteps() -> None:
    moved = spacing.space_timesteps("leading", 10, 1000, offset=1)
    assert (moved == spacing.space_timesteps("leading", 10, 1000) + 1).all()


@pytest.mark.parametrize("kind", SIGMA_SPACINGS)
def test_respaced_sigmas_descend_between_their_bounds(kind: SigmaSpacing) -> None:
    sigmas = spacing.space_sigmas(kind, 20, 0.03, 14.6)
    assert len(sigmas) == 20
    assert sigmas[0] == pytest.approx(14.6)
    assert sigmas[-1] == pytest.approx(0.03)
    assert (np.diff(sigmas) < 0).all()


def test_exponential_sigmas_have_a_constant_ratio() -> None:
    sigmas = spacing.space_sigmas("exponential", 9, 0.1, 10.0)
    assert np.allclose(sigmas[1:] / sigmas[:-1], sigmas[1] / sigmas[0])


def test_the_timestep_of_a_trained_sigma_is_its_place() -> None:
    places = spacing.sigmas_to_timesteps(np.exp(log_sigmas())[::-1], log_sigmas())
    assert np.allclose(places, np.arange(1000)[::-1], atol=1e-9)


def test_sigmas_beyond_the_table_go_to_its_ends() -> None:
    places = spacing.sigmas_to_timesteps(np.array([1e6, 1e-6, 0.0]), log_sigmas())
    assert places.tolist() == [999, 0, 0]


def test_timesteps_between_two_trained_ones_follow_log_sigma() -> None:
    middle = np.exp((log_sigmas()[41] + log_sigmas()[42]) / 2)
    assert spacing.sigmas_to_timesteps(np.array([middle]), log_sigmas())[0] == pytest.approx(41.5)


def test_beta_quantiles_are_scipys() -> None:
    probabilities = np.linspace(0, 1, 33)
    expected = scipy.stats.beta.ppf(probabilities, 0.6, 0.6)
    assert np.allclose(spacing.beta_quantiles(probabilities, 0.6), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_lagrange_integrals_are_scipys(count: int) -> None:
    nodes = np.geomspace(10.0, 14.6, count)[::-1].tolist()[::-1]
    start, end = nodes[0], 8.5
    for which, ours in enumerate(lagrange_integrals(nodes, start, end)):

        def polynomial(x: float, which: int = which) -> float:
            rest = [node for index, node in enumerate(nodes) if index != which]
            return float(np.prod([(x - node) / (nodes[which] - node) for node in rest]))

        expected = scipy.integrate.quad(polynomial, start, end, epsrel=1e-10)[0]
        assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_lagrange_integrals_sum_to_the_interval(count: int) -> None:
    nodes = [5.0, 6.0, 8.0, 11.0][:count]
    assert sum(lagrange_integrals(nodes, 5.0, 4.0)) == pytest.approx(-1.0)


@pytest.mark.parametrize("model", ["StableDiffusion", "StableDiffusionXL"])
def test_aligned_timesteps_and_sigmas_are_of_one_schedule(model: str) -> None:
    """The sigmas are those of the timesteps, which were rounded."""
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    scheduler.set_timesteps(timesteps=AysSchedules[f"{model}Timesteps"])
    sigmas = torch.tensor(AysSchedules[f"{model}Sigmas"])
    torch.testing.assert_close(scheduler.sigmas, sigmas, rtol=0.1, atol=0.03)
