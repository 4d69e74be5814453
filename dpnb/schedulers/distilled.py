"""Schedules of models that were distilled from a sampler of few steps, as LCM and TCD are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from dpnb.devices import Device
from dpnb.numbers import parse_int, parse_number, parse_numbers
from dpnb.schedulers.config import Beta, Positive, SchedulerConfig, Steps
from dpnb.schedulers.noise import BetaSchedule
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_preserving import (
    VariancePreservingConfig,
    VariancePreservingScheduler,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class DistilledConfig(VariancePreservingConfig):
    """Settings of `DistilledScheduler`.

    `original_inference_steps` is the number of DDIM steps that the model was distilled from; a
    run visits some of them. `timestep_scaling` sharpens a boundary condition, where there is one.
    """

    beta_start: Beta = 0.00085
    beta_end: Beta = 0.012
    beta_schedule: BetaSchedule = "scaled_linear"
    clip_sample: bool = False
    set_alpha_to_one: bool = True
    original_inference_steps: Steps = 50
    timestep_scaling: Positive = 10.0


class DistilledScheduler(VariancePreservingScheduler):
    """Base of the schedulers that visit some of the steps which the model was distilled from."""

    config_class: ClassVar[type[SchedulerConfig]] = DistilledConfig
    accepts: ClassVar[frozenset[str]] = frozenset({"timesteps"})
    config: DistilledConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._distilled = self._distilled_timesteps(None, 1.0)

    @override
    def set_timesteps(  # type: ignore[override]
        self,
        num_inference_steps: int | None = None,
        device: Device | None = None,
        original_inference_steps: Steps | None = None,
        timesteps: Sequence[float] | None = None,
        strength: float = 1.0,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Set the timesteps of a run; see `Scheduler.set_timesteps`.

        Args:
            num_inference_steps: as there.
            device: as there.
            original_inference_steps: in place of the configuration's.
            timesteps: as there.
            strength: the share of the schedule to run, from its end, to start from a picture.
            sigmas: as there.
        """
        strength = parse_number("strength", strength, least=0, most=1)
        self._distilled = self._distilled_timesteps(original_inference_steps, strength)
        if timesteps is not None:
            timesteps = parse_numbers("timesteps", timesteps)
            kept = min(int(len(timesteps) * strength), len(timesteps))
            timesteps = timesteps[len(timesteps) - kept :]
        super().set_timesteps(num_inference_steps, device, timesteps, sigmas)

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        if timesteps is not None:
            return timesteps.astype(np.int64)
        distilled = self._distilled[::-1]
        if count > len(distilled):
            raise ValueError(
                f"num_inference_steps is {count}, but only {len(distilled)} of the "
                "original_inference_steps are there at this strength; take fewer, or raise either."
            )
        return distilled[np.linspace(0, len(distilled), count, endpoint=False).astype(np.int64)]

    def _distilled_timesteps(self, original_steps: int | None, strength: float) -> Array:
        """The ascending timesteps that a run may visit."""
        asked = self.config.original_inference_steps if original_steps is None else original_steps
        steps = parse_int("original_inference_steps", asked, least=1, most=len(self))
        return np.arange(1, int(steps * strength) + 1) * (len(self) // steps) - 1
