"""iPNDM, of Katherine Crowson's v-diffusion: multistep steps that begin at lower orders.

Liu et al. (2022), PNDM, arXiv:2202.09778, without its Runge-Kutta start; Zhang & Chen (2022),
arXiv:2204.13902, section 4, name it so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.devices import Device
from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import BaseSchedulerConfig, Share, check_steps
from dpnb.schedulers.derived import derived_from
from dpnb.schedulers.scheduler import Scheduler, SchedulerOutput, Timestep

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""The weights of the last noises at equal distances, the newest first, for each order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IPNDMConfig(BaseSchedulerConfig):
    """Settings of `IPNDMScheduler`.

    `trained_betas` are the noise's factors at each step and at the end, in place of the cosine
    schedule; a run then has as many steps as they say.
    """

    trained_betas: tuple[Share, ...] | None = None


class IPNDMScheduler(Scheduler):
    """Adams-Bashforth steps of order 1 to 4 in the noise of a v-prediction model.

    Timesteps are angles between original and noise, as shares of a right angle.

    Attributes:
        alphas: the factor of the original at each step and at the end, `[n + 1]`, on the CPU.
        betas: that of the noise.
    """

    config_class: ClassVar[type[BaseSchedulerConfig]] = IPNDMConfig
    config: IPNDMConfig
    _noises: list[Tensor]

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self.set_timesteps(len(self))

    @override
    def set_timesteps(self, num_inference_steps: int, device: Device | None = None) -> None:
        """Set the timesteps of a run; the state of an earlier run is dropped.

        Args:
            num_inference_steps: the number of steps.
            device: where `timesteps` will be.

        Raises:
            ValueError: it is no number of steps that a run can have.
            TypeError: it is no number.
        """
        count = check_steps(num_inference_steps, len(self), is_continuous=True)
        even = np.linspace(1, 0, count + 1, dtype=np.float32)
        sigmas = np.sin(even * np.float32(np.pi / 2)) ** 2
        if self.config.trained_betas is not None:
            sigmas = np.array(self.config.trained_betas, dtype=np.float32)
        alphas = np.sqrt(1 - sigmas**2)
        self.alphas, self.betas = torch.from_numpy(alphas), torch.from_numpy(sigmas)
        self._alphas, self._sigmas = alphas.tolist(), sigmas.tolist()
        self._noises = []
        self.num_inference_steps = count
        self._set_schedule((np.arctan2(sigmas, alphas) / np.float32(np.pi / 2))[:-1], device)

    @derived_from("alphas")
    def _alphas(self, alphas: Tensor) -> list[float]:
        numbers: list[float] = alphas.tolist()
        return numbers

    @derived_from("betas")
    def _sigmas(self, betas: Tensor) -> list[float]:
        numbers: list[float] = betas.tolist()
        return numbers

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        *,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One step of arXiv:2202.09778, eq. 11, with eq. 12's noise; see `Scheduler.step`.

        The model's output is a velocity; at its end the sample has no signal to divide.
        """
        index = self._current_index(timestep)
        alpha, sigma = self._alphas[index], self._sigmas[index]
        newest = noise.weighted_sum((sigma, sample), (alpha, model_output))
        self._noises = [newest, *self._noises][: len(ADAMS_BASHFORTH)]
        weights = ADAMS_BASHFORTH[len(self._noises) - 1]
        mean = noise.weighted_sum(*zip(weights, self._noises, strict=True))
        signal = noise.weighted_sum((1.0, sample), (-sigma, mean))
        prev_sample = noise.weighted_sum(
            (self._alphas[index + 1] / max(alpha, 1e-8), signal), (self._sigmas[index + 1], mean)
        )
        self._step_index = index + 1
        return SchedulerOutput(prev_sample).as_asked(return_dict)

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor:
        index = self._find_index(timestep)
        alpha, sigma = self._alphas[index], self._sigmas[index]
        return noise.weighted_sum((alpha, sample), (-sigma, model_output))
