"""Laws of the functions that all schedulers share."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from dpnb.schedulers import noise
from dpnb.schedulers.noise import BetaSchedule, PredictionType

SCHEDULES: tuple[BetaSchedule, ...] = get_args(BetaSchedule)
PREDICTIONS: tuple[PredictionType, ...] = get_args(PredictionType)


def alphas_cumprod(betas: Tensor) -> Tensor:
    return torch.cumprod(1 - betas, dim=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_betas_are_variances(schedule: BetaSchedule) -> None:
    betas = noise.make_betas(schedule, 0.0001, 0.02, 1000)
    assert betas.shape == (1000,)
    assert betas.dtype == torch.float32
    assert ((betas > 0) & (betas < 1)).all()


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "sigmoid"])
def test_betas_run_from_start_to_end(schedule: BetaSchedule) -> None:
    betas = noise.make_betas(schedule, 0.001, 0.03, 500)
    assert betas.diff().min() >= 0
    assert float(betas[0]) == pytest.approx(0.001, rel=0.1)
    assert float(betas[-1]) == pytest.approx(0.03, rel=0.01)


def test_rescaling_ends_without_signal_and_keeps_the_first_step() -> None:
    betas = noise.make_betas("scaled_linear", 0.00085, 0.012, 1000)
    rescaled = noise.rescale_zero_terminal_snr(betas)
    assert float(alphas_cumprod(rescaled)[-1]) == 0.0
    torch.testing.assert_close(rescaled[0], betas[0])


def test_rescaling_twice_is_rescaling_once() -> None:
    once = noise.rescale_zero_terminal_snr(noise.make_betas("linear", 0.0001, 0.02, 1000))
    torch.testing.assert_close(noise.rescale_zero_terminal_snr(once), once, rtol=1e-3, atol=1e-6)


def test_sigmas_are_noise_per_signal() -> None:
    alpha_bars = torch.tensor([0.9, 0.5, 0.1])
    expected = (1 - alpha_bars).sqrt() / alpha_bars.sqrt()
    torch.testing.assert_close(noise.alphas_to_sigmas(alpha_bars), expected)


@pytest.mark.parametrize("alpha_bar", [0.999, 0.5, 0.003])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_perfect_prediction_recovers_original_and_noise(
    prediction: PredictionType, alpha_bar: float
) -> None:
    alpha, sigma = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    if prediction == "flow_prediction":
        alpha, sigma = alpha_bar, 1 - alpha_bar
    original, epsilon = torch.randn(2, 3, 5, dtype=torch.float64).unbind()
    sample = alpha * original + sigma * epsilon
    outputs = {
        "epsilon": epsilon,
        "sample": original,
        "v_prediction": alpha * epsilon - sigma * original,
        "flow_prediction": epsilon - original,
    }
    output = outputs[prediction]
    a, b = noise.original_weights(prediction, alpha, sigma)
    torch.testing.assert_close(noise.weighted_sum((a, sample), (b, output)), original)
    a, b = noise.noise_weights(prediction, alpha, sigma)
    torch.testing.assert_close(noise.weighted_sum((a, sample), (b, output)), epsilon)


def test_noise_cannot_be_predicted_without_signal() -> None:
    with pytest.raises(ValueError, match=r"epsilon.*v_prediction"):
        noise.original_weights("epsilon", 0.0, 1.0)


def test_combine_is_the_weighted_sum() -> None:
    x, y, z = torch.randn(3, 4).unbind()
    torch.testing.assert_close(
        noise.weighted_sum((0.5, x), (-2.0, y), (1.0, z)), 0.5 * x - 2 * y + z
    )


def test_combine_leaves_out_what_has_no_weight() -> None:
    x, infinite = torch.ones(3), torch.full((3,), torch.inf)
    assert torch.equal(noise.weighted_sum((0.0, infinite), (1.0, x)), x)
    assert torch.equal(noise.weighted_sum((0.0, x), (0.0, infinite)), torch.zeros(3))


def test_thresholding_keeps_what_is_within_one() -> None:
    original = torch.rand(2, 3, 8, 8) * 2 - 1
    assert torch.equal(noise.threshold(original, 0.995, 5.0), original)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_thresholding_brings_each_entry_of_the_batch_within_one(dtype: torch.dtype) -> None:
    original = torch.randn(4, 3, 8, 8).to(dtype) * torch.tensor([1, 2, 5, 50]).view(-1, 1, 1, 1)
    bounded = noise.threshold(original, 0.9, 10.0)
    assert bounded.dtype == dtype
    assert bounded.abs().amax(dim=(1, 2, 3)).tolist() == [1.0] * 4


def test_noise_is_given_or_drawn_but_not_both() -> None:
    sample = torch.zeros(2)
    with pytest.raises(ValueError, match="generator and variance_noise"):
        noise.randn_like(sample, torch.Generator(), sample)
