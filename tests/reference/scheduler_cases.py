"""The settings that schedulers are compared under, and how."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

import diffusers
import pytest
import torch
from torch import Tensor

import dpnb.schedulers
from dpnb.schedulers import DiffusionScheduler

Settings: TypeAlias = dict[str, Any]

QUIET = [
    pytest.mark.filterwarnings(f"ignore:{words}:DeprecationWarning")
    for words in ("__array__ implementation doesn't accept a copy", "__array_wrap__ must accept")
]
"""diffusers hands tensors to numpy in ways that numpy 2 deprecates."""

BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")
SPACINGS = ("leading", "linspace", "trailing")
PREDICTIONS = ("epsilon", "v_prediction", "sample")
EPSILON_OR_V = (
    "PNDMScheduler",
    "EulerAncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
)
NOT_A_NUMBER = (("KDPM2AncestralDiscreteScheduler", "squaredcos_cap_v2"),)
"""What makes NaN of some noise levels in diffusers, by the root of a difference that is rounded."""

ZERO_SNR: Settings = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
THRESHOLD: Settings = {"thresholding": True, "sample_max_value": 1.5}
SPACED_SIGMAS: list[Settings] = [
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
]
DPM_ALGORITHMS: list[Settings] = [
    {"algorithm_type": algorithm, "solver_type": solver, "solver_order": order, **final}
    for algorithm in ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver")
    for solver, order in (("midpoint", 1), ("midpoint", 2), ("heun", 2), ("midpoint", 3))
    if (algorithm, order) != ("sde-dpmsolver", 3)
    for final in (
        {"final_sigmas_type": "sigma_min"},
        {"final_sigmas_type": "zero"},
        {"final_sigmas_type": "sigma_min", "lower_order_final": False},
        {"final_sigmas_type": "sigma_min", "euler_at_final": True},
    )
    if final["final_sigmas_type"] == "sigma_min" or algorithm.endswith("++")
]
FLOW: Settings = {
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
}
SINGLESTEP_SOLVERS: list[Settings] = [
    {"algorithm_type": algorithm, "solver_type": solver, "solver_order": order, **final}
    for algorithm in ("dpmsolver++", "sde-dpmsolver++", "dpmsolver")
    for solver, order in (
        ("midpoint", 1),
        ("midpoint", 2),
        ("heun", 2),
        ("midpoint", 3),
        ("heun", 3),
    )
    for final in ({"final_sigmas_type": "sigma_min"}, {"final_sigmas_type": "zero"})
    if final["final_sigmas_type"] == "sigma_min" or algorithm.endswith("++")
]
SA_SOLVERS: list[Settings] = [
    {"predictor_order": order, "corrector_order": order, "algorithm_type": algorithm, **rest}
    for order in (1, 2, 3, 4)
    for algorithm in ("data_prediction", "noise_prediction")
    for rest in ({}, {"lower_order_final": False}, {"corrector_order": 1})
]
ODES = ("dpmsolver++", "dpmsolver")
UNIPC_SOLVERS: list[Settings] = [
    {"solver_order": order, "solver_type": solver, **rest}
    for order in (1, 2, 3)
    for solver in ("bh1", "bh2")
    for rest in (
        {"final_sigmas_type": "sigma_min"},
        {"final_sigmas_type": "sigma_min", "predict_x0": False},
        {"final_sigmas_type": "sigma_min", "lower_order_final": False},
        {"final_sigmas_type": "sigma_min", "disable_corrector": [0, 2]},
    )
]
OPTIONS: dict[str, list[Settings]] = {
    "DDIMScheduler": [
        {"clip_sample": False},
        {"clip_sample_range": 0.5},
        {"set_alpha_to_one": False, "steps_offset": 1},
        {"trained_betas": [0.0001 + 0.00002 * i for i in range(1000)]},
        {**ZERO_SNR, "timestep_spacing": "trailing"},
        THRESHOLD,
    ],
    "DDPMScheduler": [
        {"clip_sample": False},
        {"variance_type": "fixed_large"},
        {"variance_type": "fixed_small_log"},
        {"beta_schedule": "sigmoid"},
        {"beta_schedule": "laplace"},
        THRESHOLD,
    ],
    "PNDMScheduler": [
        {"skip_prk_steps": True},
        {"skip_prk_steps": True, "set_alpha_to_one": True, "steps_offset": 1},
    ],
    "LMSDiscreteScheduler": SPACED_SIGMAS,
    "EulerDiscreteScheduler": [
        *SPACED_SIGMAS,
        {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 20.0},
        {"interpolation_type": "log_linear"},
        {"final_sigmas_type": "sigma_min"},
        {"timestep_type": "continuous", "prediction_type": "v_prediction"},
        {**ZERO_SNR, "timestep_spacing": "trailing"},
        {"steps_offset": 1, "timestep_spacing": "leading"},
    ],
    "EulerAncestralDiscreteScheduler": [{**ZERO_SNR, "timestep_spacing": "trailing"}],
    "HeunDiscreteScheduler": [*SPACED_SIGMAS, {"clip_sample": True}, {"beta_schedule": "exp"}],
    "DPMSolverMultistepScheduler": [
        *DPM_ALGORITHMS,
        *SPACED_SIGMAS,
        *({**FLOW, **solver} for solver in DPM_ALGORITHMS if "++" in solver["algorithm_type"]),
        {"use_lu_lambdas": True},
        {"lambda_min_clipped": -4.0},
        {"lambda_min_clipped": -4.0, "timestep_spacing": "trailing"},
        ZERO_SNR,
        THRESHOLD,
    ],
    "DPMSolverSinglestepScheduler": [
        *SINGLESTEP_SOLVERS,
        *SPACED_SIGMAS,
        {"solver_order": 3, "lower_order_final": True, "final_sigmas_type": "sigma_min"},
        {"lambda_min_clipped": -4.0},
        THRESHOLD,
        FLOW,
    ],
    "UniPCMultistepScheduler": [
        *UNIPC_SOLVERS,
        *SPACED_SIGMAS,
        *({**FLOW, "solver_order": order} for order in (1, 2, 3)),
        {**FLOW, "use_karras_sigmas": True, "sigma_min": 0.01, "sigma_max": 200.0},
        {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 20.0},
        ZERO_SNR,
        THRESHOLD,
    ],
    "DEISMultistepScheduler": [
        *({"solver_order": order} for order in (1, 2, 3)),
        {"solver_order": 3, "lower_order_final": False},
        *SPACED_SIGMAS,
        THRESHOLD,
        FLOW,
    ],
    "SASolverScheduler": [
        *SA_SOLVERS,
        *SPACED_SIGMAS,
        {"lambda_min_clipped": -4.0},
        THRESHOLD,
        FLOW,
    ],
    "DPMSolverMultistepInverseScheduler": [
        *({"solver_order": order, "algorithm_type": kind} for order in (1, 2, 3) for kind in ODES),
        {"solver_order": 3, "lower_order_final": False},
        {"euler_at_final": True, "solver_type": "heun"},
        {"lambda_min_clipped": -4.0},
        THRESHOLD,
    ],
    "LCMScheduler": [
        {"clip_sample": True},
        {"original_inference_steps": 100},
        {"set_alpha_to_one": False, "timestep_scaling": 1.0},
        ZERO_SNR,
    ],
    "KDPM2DiscreteScheduler": SPACED_SIGMAS,
    "KDPM2AncestralDiscreteScheduler": SPACED_SIGMAS,
    "TCDScheduler": [{"original_inference_steps": 100}, ZERO_SNR],
    "DDIMParallelScheduler": [{"set_alpha_to_one": False, "steps_offset": 1}],
    "DDPMParallelScheduler": [{"variance_type": "fixed_large"}],
}
NAMES = tuple(OPTIONS)
CANCELLING = ("DEISMultistepScheduler", "SASolverScheduler")
"""diffusers integrates their polynomials far from the place where these are small."""
SPACING_KEYS = {"timestep_spacing", "steps_offset"}


def cases() -> list[Any]:
    """Each class plain, over all schedules; and each option, over two of them."""
    return [*plain_cases(), *option_cases()]


def plain_cases() -> Iterator[Any]:
    for name in NAMES:
        spacings = SPACINGS if has_spacing(name) else SPACINGS[:1]
        for beta, spacing, prediction in itertools.product(BETAS, spacings, PREDICTIONS):
            if prediction == "sample" and name in EPSILON_OR_V:
                continue
            if (name, beta) in NOT_A_NUMBER:
                continue
            yield case(name, {}, beta, spacing, prediction)


def option_cases() -> Iterator[Any]:
    for name in NAMES:
        for option in OPTIONS[name]:
            yield case(name, option, "scaled_linear", "leading", "epsilon")
            yield case(name, option, "linear", "linspace", "v_prediction")


def case(name: str, option: Settings, beta: str, spacing: str, prediction: str) -> Any:
    common = {"beta_schedule": beta, "timestep_spacing": spacing, "prediction_type": prediction}
    options = [f"{key}={str(value)[:16]}" for key, value in option.items()]
    words = [name.removesuffix("Scheduler"), beta, spacing, prediction, *options]
    return pytest.param(name, common | option, id="-".join(words))


def has_spacing(name: str) -> bool:
    """Whether the spacing of timesteps can be chosen."""
    kind: type[DiffusionScheduler] = getattr(dpnb.schedulers, name)
    return set(kind.config_class.names()) >= SPACING_KEYS


def pair(name: str, settings: Settings) -> tuple[Any, DiffusionScheduler]:
    """diffusers' scheduler and ours, with the settings that they have.

    diffusers deprecates the algorithms without `++`.
    """
    if not has_spacing(name):
        settings = {key: value for key, value in settings.items() if key not in SPACING_KEYS}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*dpmsolver.* is deprecated", FutureWarning)
        theirs = getattr(diffusers, name)(**settings)
    return theirs, getattr(dpnb.schedulers, name)(**settings)


def model(sample: Tensor, timestep: Tensor) -> Tensor:
    """A deterministic stand-in for a network."""
    return torch.tanh(0.8 * sample + 0.3 * sample.roll(1, -1) + float(timestep) / 1000)


def step_counts(name: str) -> tuple[int, ...]:
    return (4, 9) if name in ("PNDMScheduler", "LMSDiscreteScheduler") else (1, 4, 18)


def initial(dtype: torch.dtype) -> Tensor:
    return torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)


def with_generator(scheduler: Any, seed: int) -> Settings:
    parameters = inspect.signature(scheduler.step).parameters
    return {"generator": torch.Generator().manual_seed(seed)} if "generator" in parameters else {}


WIDENED = (
    "alphas_cumprod",
    "final_alpha_cumprod",
    "sigmas",
    "sigmas_interpol",
    "sigmas_up",
    "sigmas_down",
    "one",
)
"""The tables of diffusers' schedulers."""


def widen(theirs: Any) -> None:
    """Give diffusers' tables the precision that ours have."""
    for table in WIDENED:
        if hasattr(theirs, table):
            setattr(theirs, table, getattr(theirs, table).double())


def run(scheduler: Any, steps: int, **arguments: Any) -> Tensor:
    scheduler.set_timesteps(steps)
    sample: Tensor = initial(torch.float32) * scheduler.init_noise_sigma
    arguments |= with_generator(scheduler, 1)
    for t in scheduler.timesteps:
        output = model(scheduler.scale_model_input(sample, t), t)
        sample = scheduler.step(output, t, sample, return_dict=False, **arguments)[0]
    return sample


def distance(ours: Tensor, theirs: Tensor, *scales: Tensor) -> float:
    """The largest difference, as a share of the largest value in play."""
    scale = max(1.0, *(float(tensor.abs().max()) for tensor in (theirs, *scales)))
    return float((ours - theirs).abs().max()) / scale
