"""Runs of one step, of two, of nearly all steps of training, all, and more, beside diffusers'."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dpnb.schedulers import DiffusionScheduler
from tests.reference.scheduler_cases import (
    CANCELLING,
    NAMES,
    OPTIONS,
    QUIET,
    SPACINGS,
    Settings,
    distance,
    initial,
    model,
    pair,
    with_generator,
)

TRAINED = 12

pytestmark = [*QUIET, pytest.mark.exhaustive]

LENGTHS = (1, 2, TRAINED - 1, TRAINED, TRAINED + 1)


def settings_of(name: str) -> list[Settings]:
    """Nothing, and every option; betas that are given one by one fit one length only."""
    return [{}, *(option for option in OPTIONS[name] if "trained_betas" not in option)]


def end_of(scheduler: Any, steps: int) -> Tensor:
    """Where a run of so many steps leads; diffusers' begins at the beginning, as ours do."""
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    sample = initial(torch.float32) * float(scheduler.init_noise_sigma)
    arguments = with_generator(scheduler, 1)
    for t in scheduler.timesteps:
        output = model(scheduler.scale_model_input(sample, t), t)
        sample = scheduler.step(output, t, sample, return_dict=False, **arguments)[0]
    return sample


def end_of_theirs(scheduler: Any, steps: int) -> Tensor | None:
    """The same of diffusers; `None` where it fails, gives no numbers, or does not move.

    In reverse it drops timesteps that repeat, and keeps their sigmas.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            end = end_of(scheduler, steps)
        except (IndexError, ValueError, AssertionError, RuntimeError):
            return None
    visited = scheduler.timesteps.tolist()
    is_stuck = len(visited) < steps or (steps > 1 and len(set(visited)) == 1)
    return end if end.isfinite().all() and not is_stuck else None


def refusal_of(scheduler: DiffusionScheduler, steps: int) -> str:
    try:
        scheduler.set_timesteps(steps)
    except ValueError as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", NAMES)
def test_every_length_is_right_or_refused_at_once(name: str, spacing: str, offset: int) -> None:
    """Up to rounding, which zero SNR begins at a sigma of 4096; a wrong schedule is 0.05 off."""
    shape: Settings = {
        "num_train_timesteps": TRAINED,
        "beta_schedule": "scaled_linear",
        "steps_offset": offset,
        "timestep_spacing": spacing,
    }
    if name in ("LCMScheduler", "TCDScheduler"):
        shape["original_inference_steps"] = TRAINED
    for option, steps in itertools.product(settings_of(name), LENGTHS):
        theirs, ours = pair(name, {**option, **shape})
        if refusal := refusal_of(ours, steps):
            assert refusal.startswith(f"num_inference_steps is {steps}; ")
            needs_four = name == "PNDMScheduler" and not ours.config.get("skip_prk_steps")
            assert steps > TRAINED or (needs_four and steps < 4)
            continue
        end, expected = end_of(ours, steps), end_of_theirs(theirs, steps)
        assert end.isfinite().all(), (option, steps)
        is_rough = "rescale_betas_zero_snr" in option or name in CANCELLING
        limit = 1e-3 if is_rough else 1e-4
        assert expected is None or distance(end, expected) < limit, (option, steps)
