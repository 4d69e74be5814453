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
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
)
"""Schedulers that serve the same models: each is built from any other's configuration."""

MODULES = {
    "AysSchedules": "ays",
    "DDIMInverseScheduler": "ddim_inverse",
    "DDIMParallelScheduler": "ddim_parallel",
    "DDIMScheduler": "ddim",
    "DDPMParallelScheduler": "ddpm_parallel",
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
    "FlowMatchHeunDiscreteScheduler": "flow_match_heun",
    "FlowMatchLCMScheduler": "flow_match_lcm",
    "HeunDiscreteScheduler": "heun",
    "KDPM2AncestralDiscreteScheduler": "k_dpm_2_ancestral",
    "KDPM2DiscreteScheduler": "k_dpm_2",
    "IPNDMScheduler": "ipndm",
    "LCMScheduler": "lcm",
    "LMSDiscreteScheduler": "lms",
    "PNDMScheduler": "pndm",
    "SASolverScheduler": "sa_solver",
    "Scheduler": "scheduler",
    "SchedulerConfig": "config",
    "SchedulerOutput": "scheduler",
    "TCDScheduler": "tcd",
    "UniPCMultistepScheduler": "unipc",
}
"""Which module of this package holds each public name."""


def load_public_name(name: str) -> Any:
    """The object of this name, one of `MODULES`."""
    return getattr(import_module(f"dpnb.schedulers.{MODULES[name]}"), name)
