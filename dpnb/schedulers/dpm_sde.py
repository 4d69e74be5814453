"""DPM-Solver++ (2S) of the diffusion SDE, of Katherine Crowson's k-diffusion.

Lu et al. (2022), arXiv:2211.01095, with the noise of a Brownian path, which is the same for any
number of steps: Li et al. (2020), arXiv:2001.01328, section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.errors import MissingPackageError
from dpnb.numbers import parse_number
from dpnb.schedulers import noise, spacing
from dpnb.schedulers.catalog import INTERCHANGEABLE, load_public_name
from dpnb.schedulers.config import SchedulerConfig
from dpnb.schedulers.derived import derived_from
from dpnb.schedulers.k_dpm_2 import (
    KDPM2DiscreteConfig,
    KDPM2DiscreteScheduler,
    Levels,
    interleave,
)
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_exploding import SecondOrderScheduler
from dpnb.validation import Range


@dataclass(frozen=True, kw_only=True, eq=False)
class DPMSolverSDEConfig(KDPM2DiscreteConfig):
    """Settings of `DPMSolverSDEScheduler`; without a seed each run has a path of its own."""

    noise_sampler_seed: Annotated[int, Range(0, 2**63 - 1)] | None = None


class DPMSolverSDEScheduler(KDPM2DiscreteScheduler):
    """Two stages for each step: to halfway in log sigma, and from the start to the end.

    Each goes below its end, and noise of a Brownian path over sigma brings it up; the package
    torchsde builds that. The last step goes to sigma 0, without noise.
    """

    config_class: ClassVar[type[SchedulerConfig]] = DPMSolverSDEConfig
    config: DPMSolverSDEConfig
    _path: Any
    """The Brownian path of the run, `None` before the first step."""

    @property
    @override
    def compatibles(self) -> list[type[Any]]:
        return [type(self), *map(load_public_name, INTERCHANGEABLE)]

    @override
    def step(  # type: ignore[override]
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        return_dict: bool = True,
        s_noise: float = 1.0,
    ) -> SchedulerOutput:
        """Half a step of arXiv:2211.01095, algorithm 1, of the SDE; see `Scheduler.step`.

        Args:
            model_output: as there.
            timestep: as there.
            sample: as there.
            return_dict: as there.
            s_noise: the standard deviation of the noise.

        Raises:
            ValueError: as there.
            MissingPackageError: torchsde is not installed.
        """
        index, s_noise = self._current_index(timestep), parse_number("s_noise", s_noise)
        original = self._predict_original(model_output, sample, self._sigmas[index])
        start, begun = (sample, index) if self._start is None else (self._start, index - 1)
        here, end = self._sigmas[begun], self._levels.ends[index]
        up = end * math.sqrt(max(here**2 - end**2, 0.0)) / here
        share = math.sqrt(max(end**2 - up**2, 0.0)) / here
        prev_sample = noise.weighted_sum((share, start), (1 - share, original))
        if up > 0:
            fresh = self._draw(sample, here, end)
            prev_sample = noise.weighted_sum((1.0, prev_sample), (s_noise * up, fresh))
        self._start = sample if self._start is None else None
        self._step_index = index + 1
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    def _draw(self, sample: Tensor, here: float, end: float) -> Tensor:
        """The path's noise on the way from sigma `here` down to `end`, of variance 1."""
        if self._path is None:
            self._path = _build_path(sample, *self._path_ends(), self.config.noise_sampler_seed)
        increment: Tensor = self._path(torch.tensor(end), torch.tensor(here))
        return -increment / math.sqrt(here - end)

    def _path_ends(self) -> tuple[float, float]:
        levels = [level for level in self.sigmas.tolist() if level > 0]
        return min(levels), max(levels)

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        whole = SecondOrderScheduler._plan_timesteps(self, count, timesteps, sigmas)
        halfway = np.array(self._sigmas[1:-1:2])
        between = spacing.sigmas_to_timesteps(halfway, np.log(self._train_sigmas))
        return interleave(whole, between.astype(np.float32))

    @override
    def _set_sigmas(self, levels: Array, final: float) -> None:
        table = np.append(levels, final).astype(np.float32)
        whole = [table[:1], table[1:-1].repeat(2), table[-1:]]
        self.sigmas = torch.from_numpy(np.concatenate(whole))
        self._levels = self._find_levels(table)
        self._start = self._path = None

    @override
    @derived_from("sigmas")
    def _levels(self, sigmas: Tensor) -> Levels:
        return self._find_levels(torch.cat([sigmas[::2], sigmas[-1:]]).cpu().numpy())


def _build_path(like: Tensor, low: float, high: float, seed: int | None) -> Any:
    """A Brownian path from sigma `low` to `high`, of values of the shape of `like`.

    Raises:
        MissingPackageError: torchsde is not installed.
    """
    try:
        import torchsde
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "DPMSolverSDEScheduler draws its noise from torchsde's Brownian path, and torchsde is "
            "not installed. Install it, or use "
            'DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"), which solves the same '
            "equation with noise of a generator."
        ) from error
    if seed is None:
        seed = int(torch.randint(0, 2**63 - 1, []))
    return torchsde.BrownianInterval(
        t0=low,
        t1=high,
        size=like.shape,
        dtype=like.dtype,
        device=like.device,
        entropy=seed,
        tol=1e-6,
        pool_size=24,
        halfway_tree=True,
    )
