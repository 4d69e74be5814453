"""The base of schedulers of flow-matching models: a straight path from noise to sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.devices import upload
from dpnb.schedulers import noise
from dpnb.schedulers.config import BaseSchedulerConfig, Positive
from dpnb.schedulers.derived import derived_from
from dpnb.schedulers.scheduler import Scheduler, Timestep
from dpnb.schedulers.spacing import Array, shift_sigmas


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowMatchConfig(BaseSchedulerConfig):
    """Settings of `FlowMatchScheduler`; `shift` moves steps towards the noise."""

    shift: Positive = 1.0


class FlowMatchScheduler(Scheduler):
    """Base of the schedulers on the flow of Esser et al. (2024), arXiv:2403.03206, section 2.

    A noisy sample is `(1 - sigma) · original + sigma · noise`, and the model predicts
    `noise - original`. A timestep is the noise level in training steps: `sigma · T`.

    Attributes:
        sigmas: the noise levels of the run and the one it ends at, `[n + 1]`, on the CPU; before a
            run those of training, `[T]`.
        sigma_min: the least noise level of training.
        sigma_max: the highest.
    """

    config_class: ClassVar[type[BaseSchedulerConfig]] = FlowMatchConfig
    needs_set_timesteps: ClassVar[bool] = False
    config: FlowMatchConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        count = len(self)
        levels = np.linspace(1, count, count, dtype=np.float32)[::-1] / count
        levels = shift_sigmas(levels, self._training_shift())
        self.sigma_max, self.sigma_min = float(levels[0]), float(levels[-1])
        self._set_sigmas(levels)
        self._set_schedule(levels * np.float32(count), None)

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """`sample` `[batch, ...]` with as much of `noise` as it has at `timestep` `[batch]`."""
        indices = self._indices_of(timestep)
        levels = torch.from_numpy(self._run_sigmas)[indices].to(sample.dtype)
        sigmas = upload(levels, sample.device)
        sigmas = sigmas.view(-1, *[1] * (sample.ndim - 1))
        return sigmas * noise + (1.0 - sigmas) * sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """`scale_noise`, by the name that other schedulers have for it."""
        return self.scale_noise(original_samples, timesteps, noise)

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor:
        """As `Scheduler.predict_original_sample`: where the path leads, in float32."""
        sigma, final = self._run_sigmas[self._find_index(timestep)], self._run_sigmas[-1]
        sample = noise.at_least_float32(sample)
        return noise.weighted_sum((1.0, sample), (float(final - sigma), model_output))

    def _training_shift(self) -> float:
        """The shift of the noise levels of training."""
        return self.config.shift

    def _set_sigmas(self, levels: Array) -> None:
        self.sigmas = torch.from_numpy(levels)
        self._run_sigmas = levels if self.num_inference_steps else np.append(levels, np.float32(0))

    @derived_from("sigmas")
    def _run_sigmas(self, sigmas: Tensor) -> Array:
        levels: Array = sigmas.detach().cpu().numpy()
        return levels if self.num_inference_steps else np.append(levels, np.float32(0))

    def _space_sigmas(self, count: int) -> Array:
        """`count` noise levels over those of training, float64, before this run's shift."""
        ends = self.sigma_max * len(self), self.sigma_min * len(self)
        levels: Array = np.linspace(*ends, count) / len(self)
        return levels
