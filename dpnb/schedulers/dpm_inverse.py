"""DPM-Solver in reverse, from a picture to its noise: Lu et al. (2022), arXiv:2211.01095.

The deterministic solvers integrate an ODE, which leads both ways: Song et al. (2020), DDIM,
arXiv:2010.02502, section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from dpnb.devices import Device
from dpnb.schedulers import spacing
from dpnb.schedulers.catalog import INTERCHANGEABLE
from dpnb.schedulers.config import BetaConfig, SchedulerConfig
from dpnb.schedulers.dpm_solver import DPMMultistepConfig, DPMMultistepScheduler
from dpnb.schedulers.spacing import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class DPMSolverMultistepInverseConfig(DPMMultistepConfig, SchedulerConfig):
    """Settings of `DPMSolverMultistepInverseScheduler`."""

    algorithms: ClassVar[tuple[str, ...]] = ("dpmsolver", "dpmsolver++")

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.use_flow_sigmas:
            raise ValueError(
                "use_flow_sigmas is on, but there is no way from a picture to the noise of a "
                "flow here; leave it off."
            )


class DPMSolverMultistepInverseScheduler(DPMMultistepScheduler):
    """DPM-Solver of order 1 to 3 on ascending noise levels.

    Timesteps ascend; of noise levels that have the same one, the first is visited.
    """

    config_class: ClassVar[type[BetaConfig]] = DPMSolverMultistepInverseConfig
    interchangeable: ClassVar[tuple[str, ...]] = (
        *INTERCHANGEABLE,
        "DPMSolverMultistepInverseScheduler",
    )
    config: DPMSolverMultistepInverseConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._set_sigmas(self._train_sigmas, float(self._train_sigmas[-1]))
        self._set_schedule(np.arange(len(self)), None)

    @override
    def _set_schedule(self, timesteps: Array, device: Device | None) -> None:
        super()._set_schedule(timesteps, device)
        if self.num_inference_steps is not None:
            self.num_inference_steps = len(timesteps)

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        kind = self.config.sigma_spacing
        planned = self._ascend(count).astype(np.int64)
        final = float(self._train_sigmas[self._bound - 1])
        if kind is None:
            levels = self._sigmas_at(planned)
        else:
            levels, planned = (table[::-1] for table in self._space_sigmas(kind, count))
            planned = planned.round() if kind == "karras" else planned
            final = float(levels[-1])
        planned, kept = np.unique(planned.astype(np.int64), return_index=True)
        self._set_sigmas(levels[kept], final)
        return planned

    def _ascend(self, count: int) -> Array:
        """`count` timesteps that ascend: of `count + 1`, the last of which only ends the run."""
        config = self.config
        kind, bound = config.timestep_spacing, self._bound
        if kind == "trailing":
            return spacing.space_trailing(count, len(self), bound)[::-1]
        if kind == "leading" and count + 1 > bound:
            return self._all_below(bound, count)[::-1]
        timesteps = spacing.space_timesteps(kind, count + 1, bound, config.steps_offset)
        rounded: Array = timesteps[:0:-1].round()
        return rounded
