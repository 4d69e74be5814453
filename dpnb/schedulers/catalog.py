"""Which schedulers there are, by name: nothing is imported until a class is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

INTERCHANGEABLE = (
    "DDIMScheduler",
    "DDPMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
)
"""Schedulers that serve the same models: each is built from any other's configuration."""

MODULES = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DEISMultistepScheduler": "deis",
    "DPMSolverMultistepInverseScheduler": "dpm_inverse",
    "DPMSolverMultistepScheduler": "dpm_solver",
    "DPMSolverSinglestepScheduler": "dpm_singlestep",
    "DiffusionScheduler": "diffusion",
    "EDMDPMSolverMultistepScheduler": "edm_dpm_solver",
    "EDMEulerScheduler": "edm_euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "EulerDiscreteScheduler": "euler",
    "FlowMatchEulerDiscreteScheduler": "flow_match",
    "HeunDiscreteScheduler": "heun",
    "IPNDMScheduler": "ipndm",
    "LCMScheduler": "lcm",
    "LMSDiscreteScheduler": "lms",
    "PNDMScheduler": "pndm",
    "SASolverScheduler": "sa_solver",
    "Scheduler": "scheduler",
    "SchedulerConfig": "config",
    "SchedulerOutput": "scheduler",
    "UniPCMultistepScheduler": "unipc",
}
"""Which module of this package holds each public name."""


def load_public_name(name: str) -> Any:
    """The object of this name, one of `MODULES`."""
    return getattr(import_module(f"dpnb.schedulers.{MODULES[name]}"), name)
