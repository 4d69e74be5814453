"""Schedulers: the way from noise to a sample, one file per method.

Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpnb.schedulers.config import SchedulerConfig
    from dpnb.schedulers.ddim import DDIMScheduler
    from dpnb.schedulers.ddpm import DDPMScheduler
    from dpnb.schedulers.diffusion import DiffusionScheduler
    from dpnb.schedulers.dpm_solver import DPMSolverMultistepScheduler
    from dpnb.schedulers.euler import EulerDiscreteScheduler
    from dpnb.schedulers.euler_ancestral import EulerAncestralDiscreteScheduler
    from dpnb.schedulers.flow_match import FlowMatchEulerDiscreteScheduler
    from dpnb.schedulers.heun import HeunDiscreteScheduler
    from dpnb.schedulers.lcm import LCMScheduler
    from dpnb.schedulers.lms import LMSDiscreteScheduler
    from dpnb.schedulers.pndm import PNDMScheduler
    from dpnb.schedulers.scheduler import Scheduler, SchedulerOutput
    from dpnb.schedulers.unipc import UniPCMultistepScheduler

INTERCHANGEABLE = (
    "DDIMScheduler",
    "DDPMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
)
"""Schedulers that serve the same models: each is built from any other's configuration."""

MODULES = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DPMSolverMultistepScheduler": "dpm_solver",
    "DiffusionScheduler": "diffusion",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "EulerDiscreteScheduler": "euler",
    "FlowMatchEulerDiscreteScheduler": "flow_match",
    "HeunDiscreteScheduler": "heun",
    "LCMScheduler": "lcm",
    "LMSDiscreteScheduler": "lms",
    "PNDMScheduler": "pndm",
    "Scheduler": "scheduler",
    "SchedulerConfig": "config",
    "SchedulerOutput": "scheduler",
    "UniPCMultistepScheduler": "unipc",
}
"""Which module of this package holds each public name."""

__all__ = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "DiffusionScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "Scheduler",
    "SchedulerConfig",
    "SchedulerOutput",
    "UniPCMultistepScheduler",
]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *MODULES])
