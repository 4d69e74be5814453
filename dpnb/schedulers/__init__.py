"""Schedulers: how a sample is drawn from noise, one file for each method.

Names are loaded when they are first used; `catalog` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpnb.schedulers.catalog import INTERCHANGEABLE, MODULES, load_public_name

if TYPE_CHECKING:
    from dpnb.schedulers.ays import AysSchedules
    from dpnb.schedulers.config import SchedulerConfig
    from dpnb.schedulers.ddim import DDIMScheduler
    from dpnb.schedulers.ddim_inverse import DDIMInverseScheduler
    from dpnb.schedulers.ddim_parallel import DDIMParallelScheduler
    from dpnb.schedulers.ddpm import DDPMScheduler
    from dpnb.schedulers.ddpm_parallel import DDPMParallelScheduler
    from dpnb.schedulers.diffusion import DiffusionScheduler
    from dpnb.schedulers.dpm_solver import DPMSolverMultistepScheduler
    from dpnb.schedulers.euler import EulerDiscreteScheduler
    from dpnb.schedulers.euler_ancestral import EulerAncestralDiscreteScheduler
    from dpnb.schedulers.flow_match import FlowMatchEulerDiscreteScheduler
    from dpnb.schedulers.flow_match_heun import FlowMatchHeunDiscreteScheduler
    from dpnb.schedulers.flow_match_lcm import FlowMatchLCMScheduler
    from dpnb.schedulers.heun import HeunDiscreteScheduler
    from dpnb.schedulers.k_dpm_2 import KDPM2DiscreteScheduler
    from dpnb.schedulers.k_dpm_2_ancestral import KDPM2AncestralDiscreteScheduler
    from dpnb.schedulers.lcm import LCMScheduler
    from dpnb.schedulers.lms import LMSDiscreteScheduler
    from dpnb.schedulers.pndm import PNDMScheduler
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
    "DPMSolverMultistepScheduler",
    "DiffusionScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "Scheduler",
    "SchedulerConfig",
    "SchedulerOutput",
    "TCDScheduler",
    "UniPCMultistepScheduler",
]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load_public_name(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *MODULES])
