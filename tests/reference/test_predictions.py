"""The predicted original sample of diffusers' schedulers, by the tables that they hold."""

from __future__ import annotations

import copy
from typing import Any

import diffusers
import pytest
import torch

from dpnb.schedulers.catalog import load_public_name
from dpnb.schedulers.predictions import predict_original
from tests.schedulers.test_predictions import CASES, NOISE, ORIGINAL, STEPS

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LIMITS = {"clip_sample", "thresholding"}
UNLIMITED = {"TCDScheduler"}
"""They have settings for limits that their steps do not read."""

NO_SAMPLE = {
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
}
"""They refuse that prediction."""

NOT_HERE = ["IPNDMScheduler", "DDIMInverseScheduler"]
"""They hold no prediction type, or samples of the timestep before."""

CASES_HERE = [
    (name, settings)
    for name, settings in CASES
    if name not in NOT_HERE
    and not (name in UNLIMITED and any(map(settings.get, LIMITS)))
    and not (name in NO_SAMPLE and settings.get("prediction_type") == "sample")
]
"""What diffusers' schedulers can be."""


@pytest.mark.parametrize(("name", "settings"), CASES_HERE)
def test_it_is_that_of_dpnbs_own_and_that_which_a_step_tells(
    name: str, settings: dict[str, Any]
) -> None:
    foreign, own = getattr(diffusers, name)(**settings), load_public_name(name)(**settings)
    foreign.set_timesteps(STEPS)
    own.set_timesteps(STEPS)
    sample, generator = 2 * ORIGINAL + NOISE, torch.Generator().manual_seed(0)
    for t, own_t in zip(foreign.timesteps, own.timesteps, strict=True):
        output = torch.randn(sample.shape, generator=generator, dtype=sample.dtype)
        for scheduler, moment in ((foreign, t), (own, own_t)):
            if "scale_model_input" in dir(scheduler):
                scheduler.scale_model_input(sample, moment)
        before = copy.deepcopy(vars(foreign))
        found = predict_original(foreign, output, t, sample)
        assert repr(vars(foreign)) == repr(before)
        assert found is not None
        expected = predict_original(own, output, own_t, sample)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
        stepped = foreign.step(output, t, sample)
        told = vars(stepped).get("pred_original_sample")
        if told is not None:
            torch.testing.assert_close(found, told.to(found), rtol=1e-4, atol=1e-3)
        own.step(output, own_t, sample)
        sample = stepped.prev_sample.to(sample.dtype)


OTHERS = [
    *NOT_HERE,
    "CMStochasticIterativeScheduler",
    "DDPMWuerstchenScheduler",
    "SCMScheduler",
    "ScoreSdeVeScheduler",
]


@pytest.mark.parametrize("name", OTHERS)
def test_of_others_there_is_none(name: str) -> None:
    scheduler = getattr(diffusers, name)()
    scheduler.set_timesteps(2)
    assert predict_original(scheduler, NOISE, scheduler.timesteps[0], NOISE) is None


@pytest.mark.parametrize("name", ["CogVideoXDDIMScheduler", "CogVideoXDPMScheduler"])
def test_of_videos_it_is_what_a_step_tells(name: str) -> None:
    scheduler = getattr(diffusers, name)(clip_sample=False, prediction_type="v_prediction")
    scheduler.set_timesteps(STEPS)
    for t in scheduler.timesteps:
        found = predict_original(scheduler, NOISE, t, ORIGINAL)
        moments = (None, t, None) if "DPM" in name else (t,)
        told = scheduler.step(NOISE, *moments, ORIGINAL, return_dict=False)
        torch.testing.assert_close(found, told[1])


@pytest.mark.parametrize("name", ["DDPMScheduler", "DPMSolverMultistepScheduler"])
def test_a_learned_variance_is_left_out(name: str) -> None:
    scheduler = getattr(diffusers, name)(variance_type="learned_range")
    scheduler.set_timesteps(STEPS)
    t = scheduler.timesteps[0]
    found = predict_original(scheduler, torch.cat([NOISE, ORIGINAL], dim=1), t, ORIGINAL)
    torch.testing.assert_close(found, predict_original(scheduler, NOISE, t, ORIGINAL))
    assert predict_original(scheduler, NOISE[:, :1], t, ORIGINAL) is None
