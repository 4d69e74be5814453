"""Samplers, as other programs name them, and the schedulers that they are.

After the table in diffusers' documentation of schedulers, with the names that AUTOMATIC1111 writes
and those of InvokeAI, ComfyUI and k-diffusion beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampler:
    """A sampler of AUTOMATIC1111 and the scheduler that it is.

    Args:
        name: as AUTOMATIC1111 writes it.
        scheduler: the class.
        others: what other programs call it.
        settings: of the scheduler.
        automatic: the schedule type that "Automatic" means for it.
    """

    name: str
    scheduler: str
    others: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    automatic: str = ""


MULTISTEP = "DPMSolverMultistepScheduler"
SDE = {"algorithm_type": "sde-dpmsolver++"}

SAMPLERS = (
    Sampler("Euler", "EulerDiscreteScheduler", ("euler",)),
    Sampler("Euler", "FlowMatchEulerDiscreteScheduler"),
    Sampler("Euler a", "EulerAncestralDiscreteScheduler", ("euler_a", "euler_ancestral")),
    Sampler("LMS", "LMSDiscreteScheduler", ("lms",)),
    Sampler("Heun", "HeunDiscreteScheduler", ("heun",)),
    Sampler("DPM2", "KDPM2DiscreteScheduler", ("dpm_2", "kdpm_2"), automatic="Karras"),
    Sampler(
        "DPM2 a",
        "KDPM2AncestralDiscreteScheduler",
        ("dpm_2_ancestral", "dpm_2_a", "kdpm_2_a"),
        automatic="Karras",
    ),
    Sampler("DPM++ 2M", MULTISTEP, ("dpmpp_2m",), automatic="Karras"),
    Sampler("DPM++ 3M", MULTISTEP, ("dpmpp_3m",), {"solver_order": 3}),
    Sampler("DPM++ 2M SDE", MULTISTEP, ("dpmpp_2m_sde", "dpmpp_2m_sde_gpu"), SDE, "Exponential"),
    Sampler(
        "DPM++ 3M SDE",
        MULTISTEP,
        ("dpmpp_3m_sde", "dpmpp_3m_sde_gpu"),
        {**SDE, "solver_order": 3},
        "Exponential",
    ),
    Sampler(
        "DPM++ 2M SDE Heun",
        MULTISTEP,
        ("dpmpp_2m_sde_heun",),
        {**SDE, "solver_type": "heun"},
        "Exponential",
    ),
    Sampler("DPM++ 2S", "DPMSolverSinglestepScheduler", ("dpmpp_2s",)),
    Sampler(
        "DPM++ SDE", "DPMSolverSDEScheduler", ("dpmpp_sde", "dpmpp_sde_gpu"), automatic="Karras"
    ),
    Sampler("UniPC", "UniPCMultistepScheduler", ("unipc", "uni_pc", "uni_pc_bh2")),
    Sampler("DEIS", "DEISMultistepScheduler", ("deis",)),
    Sampler("DDIM", "DDIMScheduler", ("ddim",)),
    Sampler("DDPM", "DDPMScheduler", ("ddpm",)),
    Sampler("PLMS", "PNDMScheduler", ("plms", "pndm")),
    Sampler("LCM", "LCMScheduler", ("lcm",)),
    Sampler("TCD", "TCDScheduler", ("tcd",)),
    Sampler("SA Solver", "SASolverScheduler", ("sa_solver",)),
    Sampler("IPNDM", "IPNDMScheduler", ("ipndm",)),
)
"""The first of a name is what the name is read as."""

USUAL: Mapping[str, Any] = {
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
}
"""What tells samplers of one class apart, where a scheduler's settings do not say."""

SCHEDULES: Mapping[str, Mapping[str, Any]] = {
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
    "Beta": {"use_beta_sigmas": True},
    "SGM Uniform": {"timestep_spacing": "trailing"},
    "Simple": {"timestep_spacing": "trailing"},
    "Uniform": {},
    "Normal": {},
}
"""Schedule types and the settings that make them; the first that fits is written."""

SPACING = frozenset({"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"})
"""The settings of which one at most is on."""

SUFFIXES = (("_k", "Karras"),)
"""What InvokeAI adds to a name for a schedule type."""


def name_sampler(scheduler: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """What AUTOMATIC1111 calls a scheduler with these settings.

    Args:
        scheduler: the class.
        settings: of it, those that are its own defaults may be missing.

    Returns:
        The sampler, and the schedule type, empty where the name says all. What AUTOMATIC1111 does
        not know keeps the name of its class.
    """
    schedule = next(
        (name for name, those in SCHEDULES.items() if those and those.items() <= settings.items()),
        "",
    )
    full = {**USUAL, **settings}
    fitting = [
        one
        for one in SAMPLERS
        if one.scheduler == scheduler
        and all(full[name] == value for name, value in {**_usual_of(one), **one.settings}.items())
    ]
    if not fitting:
        return scheduler, schedule
    return fitting[0].name, schedule or ("Uniform" if fitting[0].automatic else "")


def find_sampler(name: str, schedule: str = "") -> tuple[str | None, dict[str, Any]]:
    """The scheduler that a program means.

    Args:
        name: of the sampler, in any of the forms that are known; older files have the schedule
            type in it, as in "DPM++ 2M Karras".
        schedule: the type, where it is given by itself.

    Returns:
        The class, `None` for an unknown sampler, and the settings that make it that sampler.
    """
    found = _look_up(name)
    if found is None:
        name, schedule = _split_schedule(name, schedule)
        found = _look_up(name)
    if found is None:
        is_class = name.isidentifier() and name.endswith("Scheduler")
        return (name, dict(_schedule_settings(schedule))) if is_class else (None, {})
    if schedule.strip().lower() == "automatic":
        schedule = found.automatic
    return found.scheduler, {**_usual_of(found), **found.settings, **_schedule_settings(schedule)}


def _usual_of(sampler: Sampler) -> Mapping[str, Any]:
    """What has to be said of a scheduler that several samplers share."""
    return USUAL if sampler.scheduler == MULTISTEP else {}


def _look_up(name: str) -> Sampler | None:
    plain = name.strip().lower().removeprefix("sample_").removeprefix("k_")
    return next((one for one in SAMPLERS if plain in (one.name.lower(), *one.others)), None)


def _split_schedule(name: str, schedule: str) -> tuple[str, str]:
    """A name without the schedule type at its end, and that type."""
    plain = name.strip()
    endings = [(f"{mark}{one}", one) for one in SCHEDULES for mark in (" ", "_")]
    for ending, one in (*endings, *SUFFIXES):
        if plain.lower().endswith(ending.lower()):
            return plain[: -len(ending)], one
    return plain, schedule


def _schedule_settings(schedule: str) -> Mapping[str, Any]:
    plain = schedule.strip().lower().replace("_", " ")
    return next((those for name, those in SCHEDULES.items() if name.lower() == plain), {})
