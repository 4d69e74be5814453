"""Schedulers: how a sample is drawn from noise, one file for each method.

Names are loaded when they are first used; `catalog` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpnb.module_paths import find_elsewhere
from dpnb.schedulers.catalog import INTERCHANGEABLE, MODULES, load_public_name

if TYPE_CHECKING:
    from dpnb.schedulers.ays import AysSchedules
    from dpnb.schedulers.config import SchedulerConfig
    from dpnb.schedulers.ddim import DDIMScheduler
    from dpnb.schedulers.ddim_inverse import DDIMInverseScheduler
    from dpnb.schedulers.ddim_parallel import DDIMParallelScheduler
    from dpnb.schedulers.ddpm import DDPMScheduler
    from dpnb.schedulers.ddpm_parallel import DDPMParallelScheduler
    from dpnb.schedulers.deis import DEISMultistepScheduler
    from dpnb.schedulers.diffusion import DiffusionScheduler
    from dpnb.schedulers.dpm_inverse import DPMSolverMultistepInverseScheduler
    from dpnb.schedulers.dpm_singlestep import DPMSolverSinglestepScheduler
    from dpnb.schedulers.dpm_solver import DPMSolverMultistepScheduler
    from dpnb.schedulers.edm_dpm_solver import EDMDPMSolverMultistepScheduler
    from dpnb.schedulers.edm_euler import EDMEulerScheduler
    from dpnb.schedulers.euler import EulerDiscreteScheduler
    from dpnb.schedulers.euler_ancestral import EulerAncestralDiscreteScheduler
    from dpnb.schedulers.flow_match import FlowMatchEulerDiscreteScheduler
    from dpnb.schedulers.flow_match_heun import FlowMatchHeunDiscreteScheduler
    from dpnb.schedulers.flow_match_lcm import FlowMatchLCMScheduler
    from dpnb.schedulers.heun import HeunDiscreteScheduler
    from dpnb.schedulers.ipndm import IPNDMScheduler
    from dpnb.schedulers.k_dpm_2 import KDPM2DiscreteScheduler
    from dpnb.schedulers.k_dpm_2_ancestral import KDPM2AncestralDiscreteScheduler
    from dpnb.schedulers.lcm import LCMScheduler
    from dpnb.schedulers.lms import LMSDiscreteScheduler
    from dpnb.schedulers.pndm import PNDMScheduler
    from dpnb.schedulers.sa_solver import SASolverScheduler
    from dpnb.schedulers.scheduler import Scheduler, SchedulerOutput
    from dpnb.schedulers.tcd import TCDScheduler
    from dpnb.schedulers.unipc import UniPCMultistepScheduler

__all__ = [
    "INTERCHANGEABLE",
    "AysSchedules",
    "DDIMInverseScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DiffusionScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "HeunDiscreteScheduler",
    "IPNDMScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "Scheduler",
    "SchedulerConfig",
    "SchedulerOutput",
    "TCDScheduler",
    "UniPCMultistepScheduler",
]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        return find_elsewhere(__name__, name)
    return load_public_name(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *MODULES])
