"""Schedulers that work on `original + sigma · noise`, as k-diffusion does.

Karras et al. (2022), arXiv:2206.00364; its appendix C brings models that were trained on samples of
unit variance into this form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.devices import Device
from dpnb.schedulers import noise, spacing
from dpnb.schedulers.config import SchedulerConfig
from dpnb.schedulers.derived import derived_from
from dpnb.schedulers.diffusion import DiffusionScheduler
from dpnb.schedulers.noise_level import NoiseLevel
from dpnb.schedulers.scheduler import Timestep
from dpnb.schedulers.spacing import Array


class VarianceExplodingScheduler(DiffusionScheduler):
    """Base of the schedulers that step from one sigma to the next.

    Attributes:
        sigmas: the noise levels of the run and the one it ends at, float32 on the CPU.
    """

    needs_set_timesteps: ClassVar[bool] = False
    config: SchedulerConfig
    sigmas: Tensor

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        if self.config.get("rescale_betas_zero_snr", False):
            self.alphas_cumprod[-1] = noise.TERMINAL_ALPHA_BAR
        self._set_sigmas(self._train_sigmas[::-1], 0.0)
        self._set_schedule(np.arange(len(self), dtype=np.float32)[::-1].copy(), None)

    @override
    def _find_noise_sigma(self) -> NoiseLevel:
        """The standard deviation of the first sample, which may hold a signal of variance 1."""
        largest, is_pure = max(self._sigmas), self.config.timestep_spacing != "leading"
        return NoiseLevel(largest if is_pure else math.hypot(largest, 1))

    @override
    def scale_model_input(self, sample: Tensor, timestep: Timestep | None = None) -> Tensor:
        """`sample` at unit variance, as the model expects it; arXiv:2206.00364, table 1, c_in."""
        index = self._current_index(float("nan") if timestep is None else timestep)
        return sample / math.hypot(self._sigmas[index], 1)

    @override
    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """`original_samples` `[batch, ...]` with the noise of the run's `timesteps` `[batch]`.

        Once the run has begun, or `begin_index` is set, the noise is that of the current entry;
        else the timesteps are looked up, which waits for their device.
        """
        sigmas = [self._sigmas[index] for index in self._indices_of(timesteps)]
        return original_samples + noise * broadcast_per_sample(sigmas, original_samples)

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor:
        sigma = self._sigmas[self._find_index(timestep)]
        return self._predict_original(model_output, sample, sigma)

    def _predict_original(self, model_output: Tensor, sample: Tensor, sigma: float) -> Tensor:
        """The predicted original sample: the denoiser D of arXiv:2206.00364, eq. 3."""
        if self.config.prediction_type == "epsilon":
            return noise.weighted_sum((1.0, sample), (-sigma, model_output))
        if self.config.prediction_type == "v_prediction":
            variance = sigma**2 + 1
            return noise.weighted_sum(
                (1 / variance, sample), (-sigma / math.sqrt(variance), model_output)
            )
        return model_output

    @property
    @override
    def _visits_fractional_timesteps(self) -> bool:
        return self.config.timestep_spacing == "linspace"

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        config = self.config
        if timesteps is None:
            timesteps = spacing.space_timesteps(
                config.timestep_spacing, count, len(self), config.steps_offset
            )
        timesteps = timesteps.astype(np.float32)
        levels = self._sigmas_at(timesteps)
        if config.sigma_spacing is not None:
            levels = spacing.space_sigmas(config.sigma_spacing, count, *self._sigma_bounds(levels))
            timesteps = spacing.sigmas_to_timesteps(levels, np.log(self._train_sigmas))
        self._set_sigmas(levels, self._final_sigma())
        return timesteps.astype(np.float32)

    def _sigmas_at(self, timesteps: Array) -> Array:
        """The noise levels at `timesteps`, which may be fractions."""
        levels: Array = np.interp(timesteps, np.arange(len(self._train_sigmas)), self._train_sigmas)
        return levels

    def _final_sigma(self) -> float:
        return 0.0

    def _sigma_bounds(self, levels: Array) -> tuple[float, float]:
        """The smallest and the largest sigma: those configured, else those of `levels`."""
        smallest, largest = self.config.get("sigma_min"), self.config.get("sigma_max")
        return (
            float(levels[-1]) if smallest is None else smallest,
            float(levels[0]) if largest is None else largest,
        )

    def _set_sigmas(self, levels: Array, final: float) -> None:
        table = np.append(levels, final).astype(np.float32)
        self.sigmas = torch.from_numpy(table)
        self._sigmas = table.tolist()

    @derived_from("sigmas")
    def _sigmas(self, sigmas: Tensor) -> list[float]:
        numbers: list[float] = sigmas.tolist()
        return numbers


def broadcast_per_sample(values: list[float], like: Tensor) -> Tensor | float:
    """`values`, one per entry of the batch, shaped to multiply `like`; a number if all agree."""
    if len(set(values)) == 1:
        return values[0]
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(
        -1, *[1] * (like.ndim - 1)
    )


class SecondOrderScheduler(VarianceExplodingScheduler):
    """Base of those whose every step asks the model twice."""

    order: ClassVar[int] = 2

    @override
    def set_timesteps(  # type: ignore[override]
        self,
        num_inference_steps: int | None = None,
        device: Device | None = None,
        num_train_timesteps: int | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Set the timesteps of a run; see `DiffusionScheduler.set_timesteps`.

        Args:
            num_inference_steps: as there.
            device: as there.
            num_train_timesteps: must be the configuration's.
            timesteps: as there.
            sigmas: as there.

        Raises:
            ValueError: as there, or `num_train_timesteps` is another number.
            TypeError: as there.
        """
        if num_train_timesteps not in (None, len(self)):
            raise ValueError(
                f"num_train_timesteps is {num_train_timesteps}, and this scheduler was built for "
                f"{len(self)}; build another: from_config(config, num_train_timesteps="
                f"{num_train_timesteps})."
            )
        super().set_timesteps(num_inference_steps, device, timesteps, sigmas)
