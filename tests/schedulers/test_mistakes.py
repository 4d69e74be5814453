"""Each mistake is one sentence that names the value, the rule and the remedy."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

import dpnb
import dpnb.schedulers
from dpnb.errors import MissingPackageError
from dpnb.schedulers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    Scheduler,
    UniPCMultistepScheduler,
)

pytestmark = pytest.mark.exhaustive

NAMES = (*dpnb.schedulers.INTERCHANGEABLE, "LCMScheduler", "TCDScheduler")
UNSPACED = ("DPMSolverSinglestepScheduler",)


def build(name: str, **settings: Any) -> Scheduler:
    scheduler: Scheduler = getattr(dpnb.schedulers, name)(**settings)
    return scheduler


@pytest.mark.parametrize("steps", [0, -3, 1001])
@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_steps_has_bounds(name: str, steps: int) -> None:
    scheduler = build(name, **({} if name in UNSPACED else {"timestep_spacing": "trailing"}))
    with pytest.raises(
        ValueError, match=f"num_inference_steps is {steps}; choose between 1 and 1000, the number"
    ):
        scheduler.set_timesteps(steps)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_asked_for_in_one_way(name: str) -> None:
    scheduler = build(name)
    with pytest.raises(ValueError, match="timesteps and sigmas; it takes exactly one"):
        scheduler.set_timesteps(timesteps=[900, 500], sigmas=[3.0, 0.0])
    with pytest.raises(ValueError, match="num_inference_steps and timesteps; it takes"):
        scheduler.set_timesteps(10, timesteps=[900, 500])
    with pytest.raises(ValueError, match="given nothing; it takes exactly one"):
        scheduler.set_timesteps()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "EulerDiscreteScheduler"])
def test_custom_sigmas_need_a_class_that_takes_them(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} does not take custom sigmas; pass"):
        build(name).set_timesteps(sigmas=[3.0, 1.0, 0.0])


@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "UniPCMultistepScheduler"])
def test_custom_timesteps_need_a_class_that_takes_them(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} does not take custom timesteps; pass"):
        build(name).set_timesteps(timesteps=[900, 500])


@pytest.mark.parametrize("timesteps", [[], [500, 900], [900, 900], [1000, 500], [10, -1]])
def test_custom_timesteps_descend_within_the_training_schedule(timesteps: list[int]) -> None:
    for name in ("DDPMScheduler", "EulerDiscreteScheduler", "LCMScheduler"):
        with pytest.raises(ValueError, match="must descend"):
            build(name).set_timesteps(timesteps=timesteps)


def test_custom_timesteps_and_chosen_sigmas_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="use_karras_sigmas, which chooses them"):
        EulerDiscreteScheduler(use_karras_sigmas=True).set_timesteps(timesteps=[900, 500])
    with pytest.raises(ValueError, match="use_lu_lambdas, which chooses them"):
        DPMSolverMultistepScheduler(use_lu_lambdas=True).set_timesteps(timesteps=[900, 500])
    continuous = EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction")
    with pytest.raises(ValueError, match=r"continuous.*takes no custom timesteps"):
        continuous.set_timesteps(timesteps=[900, 500])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("beta_schedule", "cubic"),
        ("prediction_type", "velocity"),
        ("timestep_spacing", "random"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_unknown_settings_are_refused_when_building(name: str, setting: str, value: str) -> None:
    if setting != "timestep_spacing" or name not in UNSPACED:
        with pytest.raises(ValueError, match=f"{setting} is '{value}'; it must be one of"):
            build(name, **{setting: value})
    with pytest.raises(TypeError, match="has no setting beta_shape"):
        build(name, beta_shape=1)


@pytest.mark.parametrize("name", [name for name in NAMES if build(name).needs_set_timesteps])
def test_a_step_needs_a_schedule(name: str) -> None:
    sample = torch.zeros(1, 4, 2, 2)
    with pytest.raises(ValueError, match=r"no schedule yet.*Call set_timesteps"):
        build(name).step(sample, 999, sample)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "DDIMScheduler"])
def test_a_run_that_is_over_takes_no_further_step(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(4, device="meta")
    scheduler.set_begin_index(len(scheduler.timesteps))
    sample = torch.zeros(1, 4, 2, 2, device="meta")
    with pytest.raises(ValueError, match=r"is over; call set_timesteps"):
        scheduler.step(sample, torch.zeros((), device="meta"), sample)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("DDIMScheduler", "PNDMScheduler")])
def test_a_timestep_off_the_schedule_is_named(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(4)
    sample = torch.zeros(1, 4, 2, 2)
    with pytest.raises(ValueError, match="17 is not a timestep of this run; pass an entry"):
        scheduler.step(sample, 17, sample)


def test_sigmas_have_one_spacing() -> None:
    with pytest.raises(ValueError, match="use_karras_sigmas and use_beta_sigmas are all on"):
        EulerDiscreteScheduler(use_karras_sigmas=True, use_beta_sigmas=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"solver_order": 4}, "solver_order is 4"),
        ({"solver_type": "rk4"}, "solver_type is 'rk4'"),
        ({"algorithm_type": "dpm"}, "algorithm_type is 'dpm'"),
        ({"algorithm_type": "dpmsolver"}, "cannot end at sigma 0"),
        ({"prediction_type": "flow_prediction"}, "flow-matching models"),
        ({"use_flow_sigmas": True, "use_beta_sigmas": True}, "use_beta_sigmas are both on"),
        ({"time_shift_type": "linear"}, "time_shift_type is 'linear'"),
        ({"final_sigmas_type": "one"}, "final_sigmas_type is 'one'"),
    ],
)
def test_dpm_solvers_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DPMSolverMultistepScheduler(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"solver_order": 0}, "solver_order is 0"),
        ({"solver_type": "bh3"}, "solver_type is 'bh3'"),
        ({"predict_x0": False}, "cannot end at sigma 0"),
        ({"solver_p": "DDIM"}, "solver_p is not supported"),
        ({"shift_terminal": 0.1}, "shift_terminal is 0.1, but is for flow-matching models"),
        ({"use_flow_sigmas": True, "use_beta_sigmas": True}, "use_beta_sigmas are both on"),
    ],
)
def test_unipcs_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        UniPCMultistepScheduler(**settings)


@pytest.mark.parametrize("sigmas", [[0.5, 0.9], [1.2, 0.5], [0.9, 0.0]])
def test_a_flows_sigmas_descend_to_above_zero(sigmas: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^sigmas \[.*(must descend|end at 0)"):
        UniPCMultistepScheduler(use_flow_sigmas=True).set_timesteps(sigmas=sigmas)


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_the_largest_shift_leaves_a_flow_finite(name: str) -> None:
    scheduler = build(name, use_flow_sigmas=True, flow_shift=1e6)
    scheduler.set_timesteps(6)
    sample = torch.ones(1, 4, 2, 2)
    for t in scheduler.timesteps:
        sample = scheduler.step(0.5 * sample, t, sample).prev_sample
    assert sample.isfinite().all()


def test_the_shift_of_a_run_is_for_flows_that_have_one() -> None:
    dynamic = {"use_flow_sigmas": True, "use_dynamic_shifting": True}
    with pytest.raises(ValueError, match="needs the shift of each run; pass mu"):
        UniPCMultistepScheduler(**dynamic).set_timesteps(4)
    with pytest.raises(ValueError, match=r"mu is .*, but each run has the shift"):
        DPMSolverMultistepScheduler(use_flow_sigmas=True).set_timesteps(4, mu=1.0)


def test_names_of_other_solvers_count_as_the_default() -> None:
    assert DPMSolverMultistepScheduler(solver_type="bh2").config.solver_type == "midpoint"
    assert DPMSolverMultistepScheduler(algorithm_type="deis").config.algorithm_type == "dpmsolver++"
    assert UniPCMultistepScheduler(solver_type="midpoint").config.solver_type == "bh2"


def test_a_learned_variance_needs_a_model_that_gives_it() -> None:
    scheduler = DDPMScheduler(variance_type="learned")
    scheduler.set_timesteps(4)
    sample = torch.zeros(1, 4, 2, 2)
    with pytest.raises(ValueError, match="needs 8 channels of model output for 4"):
        scheduler.step(sample, scheduler.timesteps[0], sample)


def test_the_runge_kutta_start_needs_four_steps() -> None:
    with pytest.raises(ValueError, match=r"num_inference_steps is 3.*skip_prk_steps=True"):
        PNDMScheduler().set_timesteps(3)


def test_lcm_visits_no_more_than_it_was_distilled_from() -> None:
    with pytest.raises(ValueError, match="num_inference_steps is 51, but only 50"):
        LCMScheduler().set_timesteps(51)
    with pytest.raises(ValueError, match="num_inference_steps is 20, but only 15"):
        LCMScheduler().set_timesteps(20, strength=0.3)


def test_noise_of_a_brownian_path_has_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchsde", None)
    scheduler, sample = dpnb.DPMSolverSDEScheduler(), torch.zeros(1, 4, 2, 2)
    scheduler.set_timesteps(4)
    with pytest.raises(MissingPackageError, match=r"or use DPMSolverMultistepScheduler\(alg"):
        scheduler.step(sample, scheduler.timesteps[0], sample)


def test_noise_without_signal_cannot_be_predicted() -> None:
    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    scheduler.set_timesteps(4)
    sample = torch.zeros(1, 4, 2, 2)
    with pytest.raises(ValueError, match=r"epsilon.*cannot start from pure noise"):
        scheduler.step(sample, scheduler.timesteps[0], sample)
