"""The base of schedulers of models with EDM's preconditioning: Karras et al. (2022).

arXiv:2206.00364, table 1: a sample is `original + sigma · noise`, and the denoiser is
`c_skip · sample + c_out · model_output`, where the model is given `c_in · sample` and `c_noise`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.devices import Device
from dpnb.schedulers import noise, spacing
from dpnb.schedulers.config import BaseSchedulerConfig, Positive, check_choice, check_steps
from dpnb.schedulers.derived import derived_from
from dpnb.schedulers.scheduler import Scheduler, Timestep
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_exploding import broadcast_per_sample
from dpnb.validation import Range

Level: TypeAlias = "float | Tensor"
"""One noise level, or several."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EDMConfig(BaseSchedulerConfig):
    """The settings that EDM's schedulers share.

    Sigmas go from `sigma_max` to `sigma_min`, spaced by Karras et al.'s eq. 5 with the exponent
    `rho`, or evenly in their logarithm. `sigma_data` is the standard deviation of the data.

    Raises:
        ValueError: a setting is not one of the values that this scheduler knows.
    """

    sigma_min: Positive = 0.002
    sigma_max: Positive = 80.0
    sigma_data: Positive = 0.5
    sigma_schedule: Literal["karras", "exponential"] = "karras"
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon"
    rho: Annotated[float, Range(0.01, 100)] = 7.0
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("sigma_schedule", self.sigma_schedule, ("karras", "exponential"))
        check_choice("prediction_type", self.prediction_type, ("epsilon", "v_prediction"))
        check_choice("final_sigmas_type", self.final_sigmas_type, ("zero", "sigma_min"))
        if self.sigma_min >= self.sigma_max:
            raise ValueError(
                f"sigma_min is {self.sigma_min} and sigma_max {self.sigma_max}; a run goes down "
                "from the larger to the smaller. Exchange them."
            )

    @classmethod
    @override
    def positional(cls) -> tuple[str, ...]:
        return ("sigma_min", "sigma_max", "sigma_data", "sigma_schedule", "num_train_timesteps")


class EDMScheduler(Scheduler):
    """Base of EDM's schedulers: noise levels, and the preconditioning of the model around them.

    Timesteps are `c_noise`, a quarter of log sigma.

    Attributes:
        sigmas: the noise levels of the run and the one it ends at, float32 on the CPU.
    """

    config_class: ClassVar[type[BaseSchedulerConfig]] = EDMConfig
    needs_set_timesteps: ClassVar[bool] = False
    config: EDMConfig
    sigmas: Tensor

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._lay_out(np.linspace(0, 1, len(self)), None)

    @override
    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Device | None = None,
    ) -> None:
        """Set the timesteps of a run; the state of an earlier run is dropped.

        Args:
            num_inference_steps: the number of steps.
            device: where `timesteps` will be.

        Raises:
            ValueError: it is no number of steps that a run can have.
            TypeError: it is no number.
        """
        count = check_steps(num_inference_steps, len(self), is_continuous=True)
        self._lay_out(np.linspace(0, 1, count), device)
        self.num_inference_steps = count

    @override
    def _find_noise_sigma(self) -> float:
        """The standard deviation of the first sample, which holds a signal of variance 1."""
        return math.hypot(self.config.sigma_max, 1)

    @override
    def scale_model_input(self, sample: Tensor, timestep: Timestep | None = None) -> Tensor:
        """`c_in · sample`, at unit variance as the model expects it."""
        index = self._current_index(float("nan") if timestep is None else timestep)
        return sample * (1 / math.hypot(self._sigmas[index], self.config.sigma_data))

    def precondition_inputs(self, sample: Tensor, sigma: Level) -> Tensor:
        """`c_in · sample` at the noise level `sigma`."""
        return sample * (1 / (sigma**2 + self.config.sigma_data**2) ** 0.5)

    def precondition_noise(self, sigma: Level) -> Tensor:
        """`c_noise`, what the model is given as the timestep; `[1]` for a number."""
        return 0.25 * torch.log(sigma if isinstance(sigma, Tensor) else torch.tensor([sigma]))

    def precondition_outputs(self, sample: Tensor, model_output: Tensor, sigma: Level) -> Tensor:
        """The predicted original: `c_skip · sample + c_out · model_output`."""
        skip, out = self._output_weights(sigma)
        original: Tensor = skip * sample + out * model_output
        return original

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
        skip, out = self._output_weights(sigma)
        return noise.weighted_sum((skip, sample), (out, model_output))

    def _output_weights(self, sigma: Any) -> tuple[Any, Any]:
        """`(c_skip, c_out)`; a v-prediction has the other sign."""
        data = self.config.sigma_data
        total = sigma**2 + data**2
        out = sigma * data / total**0.5
        return data**2 / total, out if self.config.prediction_type == "epsilon" else -out

    def _lay_out(self, shares: Array, device: Device | None) -> None:
        """Set the schedule of a run from the shares of its way, which ascend from 0 to 1."""
        config = self.config
        low, high = config.sigma_min, config.sigma_max
        levels = spacing.space_edm_sigmas(config.sigma_schedule, shares, low, high, config.rho)
        levels = levels.astype(np.float32)
        self._set_sigmas(levels)
        self._set_schedule(np.log(levels) / 4, device)

    def _set_sigmas(self, levels: Array) -> None:
        final = float(levels[-1]) if len(levels) > 1 else self.config.sigma_min
        if self.config.final_sigmas_type == "zero":
            final = 0.0
        table = np.append(levels, np.float32(final))
        self.sigmas = torch.from_numpy(table)
        self._sigmas = table.tolist()

    @derived_from("sigmas")
    def _sigmas(self, sigmas: Tensor) -> list[float]:
        numbers: list[float] = sigmas.tolist()
        return numbers
