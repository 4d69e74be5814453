"""Every scheduler beside diffusers': the same schedules, steps and noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dpnb.schedulers import KDPM2DiscreteScheduler, Scheduler
from tests.reference.scheduler_cases import (
    CANCELLING,
    FLOW,
    NAMES,
    OPTIONS,
    QUIET,
    SPACED_SIGMAS,
    Settings,
    cases,
    distance,
    initial,
    model,
    pair,
    run,
    step_counts,
    widen,
    with_generator,
)

SPACINGS = ("leading", "linspace", "trailing")

pytestmark = [*QUIET, pytest.mark.exhaustive]

SINGLE_PRECISION = {
    "LCMScheduler": 1e-7,
    "KDPM2DiscreteScheduler": 2e-5,
    "KDPM2AncestralDiscreteScheduler": 2e-5,
}
"""By which steps in double precision may differ."""


def assert_same_schedule(theirs: Any, ours: Scheduler) -> None:
    uses_quantiles = ours.config.sigma_spacing == "beta"
    assert len(ours.timesteps) == len(theirs.timesteps)
    if isinstance(ours, KDPM2DiscreteScheduler):
        # diffusers rounds at other places, and some of its timesteps are float64.
        expected = theirs.timesteps.float()
        torch.testing.assert_close(ours.timesteps, expected, rtol=1e-6, atol=1e-4)
        return
    assert ours.timesteps.dtype == theirs.timesteps.dtype
    if uses_quantiles and ours.timesteps.is_floating_point():
        # The inverse of the beta distribution agrees to 1e-15, its float32 rounding to one place.
        torch.testing.assert_close(ours.timesteps, theirs.timesteps, rtol=1e-6, atol=1e-6)
    else:
        assert torch.equal(ours.timesteps, theirs.timesteps)
    assert ours.init_noise_sigma == pytest.approx(float(theirs.init_noise_sigma), rel=2e-7)


@pytest.mark.parametrize(("name", "settings"), cases())
def test_each_step_solves_the_same_equation(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In double precision, along diffusers' path: no rounding hides a wrong coefficient.

    What diffusers computes in single precision has a wider limit: LCM's boundary weights, and the
    noise levels between those of KDPM2. DDPM rounds as its table does, in both.
    """
    limit = SINGLE_PRECISION.get(name, 1e-9)
    seen_limit = limit if name.startswith("KDPM2") else 1e-12
    for steps in step_counts(name):
        theirs, ours = pair(name, settings)
        theirs.set_timesteps(steps)
        ours.set_timesteps(steps)
        assert_same_schedule(theirs, ours)
        widen(theirs)
        if name.startswith("DDPM"):
            ours.alphas_cumprod = ours.alphas_cumprod.double()
        sample = initial(torch.float64) * float(theirs.init_noise_sigma)
        noises = with_generator(theirs, 1), with_generator(ours, 1)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "float32", torch.float64)
            for t, u in zip(theirs.timesteps, ours.timesteps, strict=True):
                seen = theirs.scale_model_input(sample, t)
                assert distance(ours.scale_model_input(sample, u), seen) < seen_limit
                output = model(seen, t)
                expected = theirs.step(output, t, sample, **noises[0])
                given = ours.step(output, u, sample, **(noises[1] if noises[0] else {}))
                assert distance(given.prev_sample, expected.prev_sample, sample) < limit
                if "pred_original_sample" in expected:
                    assert given.pred_original_sample is not None
                    original = expected.pred_original_sample
                    assert distance(given.pred_original_sample, original, sample) < limit
                sample = expected.prev_sample


@pytest.mark.parametrize("steps", [5, 20, 50])
@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear"])
@pytest.mark.parametrize("name", NAMES)
def test_whole_runs_end_alike_in_single_precision(
    name: str, beta_schedule: str, steps: int
) -> None:
    """Over many steps the model amplifies rounding: either run is 1e-5 off a precise one."""
    theirs, ours = pair(name, {"beta_schedule": beta_schedule})
    expected = run(theirs, steps)
    assert distance(run(ours, steps), expected) < (1e-5 if steps <= 20 else 3e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param(name, settings, id=f"{name}-{index}")
        for name in NAMES
        for index, settings in enumerate(OPTIONS[name])
        if name != "LMSDiscreteScheduler"
    ],
)
def test_whole_runs_with_options_end_alike_in_single_precision(
    name: str, settings: Settings
) -> None:
    """Where the integrals of diffusers cancel, ours are ten times nearer to a precise run."""
    theirs, ours = pair(name, {"beta_schedule": "scaled_linear"} | settings)
    expected = run(theirs, 20)
    assert distance(run(ours, 20), expected) < (2e-4 if name in CANCELLING else 1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_runs_stay_close_and_keep_their_dtype(name: str, dtype: torch.dtype) -> None:
    """A step rounds to half precision at other places than diffusers, so a few places remain.

    A step up to more noise multiplies them by the growth of sigma.
    """
    places = 64 if name == "DPMSolverMultistepInverseScheduler" else 8
    theirs, ours = pair(name, {"beta_schedule": "scaled_linear"})
    theirs.set_timesteps(8)
    ours.set_timesteps(8)
    sample = (initial(torch.float32) * float(theirs.init_noise_sigma)).to(dtype)
    noises = with_generator(theirs, 1), with_generator(ours, 1)
    for t, u in zip(theirs.timesteps, ours.timesteps, strict=True):
        output = model(theirs.scale_model_input(sample, t), t)
        expected = theirs.step(output, t, sample, return_dict=False, **noises[0])[0]
        given = ours.step(output, u, sample, **(noises[1] if noises[0] else {})).prev_sample
        assert given.dtype == expected.dtype == dtype
        assert (
            distance(given.float(), expected.float(), sample.float())
            < places * torch.finfo(dtype).eps
        )
        sample = expected


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("clipped", [False, True])
def test_ddim_adds_the_same_noise(eta: float, clipped: bool) -> None:
    theirs, ours = pair("DDIMScheduler", {})
    arguments = {"eta": eta, "use_clipped_model_output": clipped}
    assert distance(run(ours, 10, **arguments), run(theirs, 10, **arguments)) < 1e-5


def test_euler_stirs_in_the_same_noise() -> None:
    theirs, ours = pair("EulerDiscreteScheduler", {})
    churn = {"s_churn": 5.0, "s_tmin": 0.1, "s_tmax": 10.0, "s_noise": 1.01}
    assert distance(run(ours, 12, **churn), run(theirs, 12, **churn)) < 1e-5


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_lms_takes_the_same_orders(order: int) -> None:
    theirs, ours = pair("LMSDiscreteScheduler", {})
    assert distance(run(ours, 8, order=order), run(theirs, 8, order=order)) < 1e-5


@pytest.mark.parametrize("variance_type", ["learned", "learned_range"])
def test_ddpm_uses_the_learned_variance_alike(variance_type: str) -> None:
    theirs, ours = pair("DDPMScheduler", {"variance_type": variance_type})
    sample, output = initial(torch.float32), initial(torch.float32).repeat(1, 2, 1, 1)
    if variance_type == "learned":
        output[:, 4:] = output[:, 4:].abs() / 100
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(10)
    expected, given = (
        scheduler.step(output, scheduler.timesteps[3], sample, **with_generator(scheduler, 2))
        for scheduler in (theirs, ours)
    )
    assert distance(given.prev_sample, expected.prev_sample) < 1e-6


def test_dpm_solver_drops_a_learned_variance() -> None:
    theirs, ours = pair("DPMSolverMultistepScheduler", {"variance_type": "learned_range"})
    sample = initial(torch.float32)[:, :3]
    output = initial(torch.float32).repeat(1, 2, 1, 1)[:, :6]
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(10)
    expected = theirs.step(output, theirs.timesteps[0], sample).prev_sample
    given = ours.step(output, ours.timesteps[0], sample).prev_sample
    assert distance(given, expected) < 1e-6


@pytest.mark.parametrize("algorithm", ["sde-dpmsolver++", "sde-dpmsolver"])
def test_dpm_solver_takes_noise_that_is_given(algorithm: str) -> None:
    settings = {"algorithm_type": algorithm, "final_sigmas_type": "sigma_min"}
    theirs, ours = pair("DPMSolverMultistepScheduler", settings)
    sample = initial(torch.float32)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(10)
    arguments = (0.5 * sample, theirs.timesteps[0], sample)
    steps: list[Any] = [theirs.step, ours.step]
    expected, given = (
        step(*arguments, variance_noise=sample.flip(0)).prev_sample for step in steps
    )
    assert distance(given, expected) < 1e-6


CUSTOM_TIMESTEPS = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]


@pytest.mark.parametrize(
    "name",
    [
        "DDPMScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "LCMScheduler",
    ],
)
def test_custom_timesteps_make_the_same_schedule(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = pair(name, {})
    theirs.set_timesteps(timesteps=CUSTOM_TIMESTEPS)
    ours.set_timesteps(timesteps=CUSTOM_TIMESTEPS)
    assert_same_schedule(theirs, ours)
    if hasattr(theirs, "sigmas"):
        assert torch.equal(ours.sigmas, theirs.sigmas)  # type: ignore[attr-defined]


def test_custom_sigmas_make_the_same_schedule() -> None:
    theirs, ours = pair("EulerDiscreteScheduler", {})
    sigmas = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0]
    theirs.set_timesteps(sigmas=sigmas)
    ours.set_timesteps(sigmas=sigmas)
    assert_same_schedule(theirs, ours)
    assert torch.equal(ours.sigmas, theirs.sigmas)  # type: ignore[attr-defined]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"]
)
def test_every_number_of_steps_makes_the_same_timesteps(name: str, spacing: str) -> None:
    """But that trailing spacing in diffusers makes one more than asked, for 499 for example."""
    theirs, ours = pair(name, {"timestep_spacing": spacing, "steps_offset": 1})
    for steps in [*range(1, 61), 75, 99, 100, 128, 250, 333, 499, 500]:
        theirs.set_timesteps(steps)
        ours.set_timesteps(steps)
        assert torch.equal(ours.timesteps, theirs.timesteps[:steps]), steps


@pytest.mark.parametrize("strength", [0.3, 0.8])
def test_lcm_starts_from_images_alike(strength: float) -> None:
    theirs, ours = pair("LCMScheduler", {})
    theirs.set_timesteps(4, strength=strength)
    ours.set_timesteps(4, strength=strength)  # type: ignore[call-arg]
    assert torch.equal(ours.timesteps, theirs.timesteps)


UNCOUNTED = (
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "PNDMScheduler",
)
"""Their steps may come in any order."""


@pytest.mark.parametrize("name", NAMES)
def test_runs_that_begin_midway_end_alike(name: str) -> None:
    """PNDM without its Runge-Kutta start, which diffusers counts from the whole run's first."""
    settings = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    theirs, ours = pair(name, {"beta_schedule": "scaled_linear", **settings})
    ends = []
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(10)
        begin = 4 * scheduler.order
        if hasattr(scheduler, "set_begin_index") and name not in UNCOUNTED:
            scheduler.set_begin_index(begin)
        sample, arguments = initial(torch.float32), with_generator(theirs, 1)
        for t in scheduler.timesteps[begin:]:
            output = model(scheduler.scale_model_input(sample, t), t)
            sample = scheduler.step(output, t, sample, return_dict=False, **arguments)[0]
        ends.append(sample)
    assert distance(ends[1], ends[0]) < 1e-5


DYNAMIC: Settings = {**FLOW, "use_dynamic_shifting": True}


@pytest.mark.parametrize(
    "name",
    [
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "DEISMultistepScheduler",
        "UniPCMultistepScheduler",
    ],
)
def test_a_flow_is_shifted_alike_in_each_run(name: str) -> None:
    theirs, ours = pair(name, DYNAMIC)
    for mu in (0.5, 1.15):
        theirs.set_timesteps(7, mu=mu)
        ours.set_timesteps(7, mu=mu)  # type: ignore[call-arg]
        assert_same_schedule(theirs, ours)
        torch.testing.assert_close(ours.sigmas, theirs.sigmas)  # type: ignore[attr-defined]


def test_unipc_takes_the_same_sigmas_of_a_flow() -> None:
    theirs, ours = pair("UniPCMultistepScheduler", FLOW)
    for steps in (1, 5, 12):
        sigmas = np.linspace(1, 1 / steps, steps)
        theirs.set_timesteps(sigmas=sigmas.copy())
        ours.set_timesteps(sigmas=sigmas.tolist())
        assert_same_schedule(theirs, ours)
        torch.testing.assert_close(ours.sigmas, theirs.sigmas)  # type: ignore[attr-defined]


@pytest.mark.parametrize("steps", [2, 9])
def test_unipc_stretches_a_flow_alike(steps: int) -> None:
    settings = {**FLOW, "shift_terminal": 0.02, "final_sigmas_type": "sigma_min"}
    theirs, ours = pair("UniPCMultistepScheduler", settings)
    assert distance(run(ours, steps), run(theirs, steps)) < 1e-5
    assert_same_schedule(theirs, ours)


@pytest.mark.parametrize("settings", SPACED_SIGMAS, ids=str)
def test_the_way_up_is_spaced_alike(settings: Settings) -> None:
    """Where timesteps differ; of those that repeat, diffusers drops some and keeps their sigmas."""
    settings = {"beta_schedule": "scaled_linear", **settings}
    theirs, ours = pair("DPMSolverMultistepInverseScheduler", settings)
    assert distance(run(ours, 6), run(theirs, 6)) < 1e-4
    assert_same_schedule(theirs, ours)
