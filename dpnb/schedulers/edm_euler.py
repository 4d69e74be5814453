"""Euler's method for EDM's models: Karras et al. (2022), arXiv:2206.00364, algorithm 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.devices import Device
from dpnb.generators import Generators
from dpnb.numbers import parse_number, parse_numbers
from dpnb.schedulers import noise
from dpnb.schedulers.edm import EDMConfig, EDMScheduler
from dpnb.schedulers.euler import churned_sigma, euler_step
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep


class EDMEulerScheduler(EDMScheduler):
    """Euler steps along the probability-flow ODE; `s_churn` adds noise before each step."""

    config_class: ClassVar[type[EDMConfig]] = EDMConfig

    @override
    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Device | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Set the timesteps of a run; the state of an earlier run is dropped.

        Args:
            num_inference_steps: the number of steps, where `sigmas` are not given.
            device: where `timesteps` will be.
            sigmas: in spite of their name, which shares of the way from `sigma_max` to `sigma_min`
                to visit, ascending within 0 and 1; only their number counts where the schedule is
                `"exponential"`.

        Raises:
            ValueError: both are given, or none, or they make no schedule.
            TypeError: something is no number.
        """
        if sigmas is None:
            super().set_timesteps(num_inference_steps, device)
            return
        if num_inference_steps is not None:
            raise ValueError(
                "set_timesteps was given num_inference_steps and sigmas; it takes one of them. "
                "Leave the other out."
            )
        shares = parse_numbers("sigmas", sigmas)
        ascends = all(low < high for low, high in pairwise(shares))
        if not shares or not ascends or shares[0] < 0 or shares[-1] > 1:
            raise ValueError(
                f"sigmas {list(shares)} are no shares of the way from sigma_max to sigma_min; they "
                "must ascend within 0 and 1."
            )
        self._lay_out(np.array(shares), device)
        self.num_inference_steps = len(shares)

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = float("inf"),
        s_noise: float = 1.0,
        generator: Generators = None,
        return_dict: bool = True,
        pred_original_sample: Tensor | None = None,
    ) -> SchedulerOutput:
        """Lines 4 to 8 of arXiv:2206.00364, algorithm 2, in float32; see `Scheduler.step`.

        The noise is that of `EulerDiscreteScheduler.step`; `pred_original_sample` stands in for
        what the model's output means.
        """
        index = self._current_index(timestep)
        sigma, sigma_next = self._sigmas[index], self._sigmas[index + 1]
        sample = noise.at_least_float32(sample)
        churn = parse_number("s_churn", s_churn) / (len(self._sigmas) - 1)
        sigma_hat = churned_sigma(sigma, churn, s_tmin, s_tmax)
        if sigma_hat > sigma:
            extra = parse_number("s_noise", s_noise) * math.sqrt(sigma_hat**2 - sigma**2)
            fresh = noise.randn_like(model_output, generator)
            sample = noise.weighted_sum((1.0, sample), (extra, fresh))

        original = pred_original_sample
        if original is None:
            original = self._predict_original(model_output, sample, sigma_hat)
        prev_sample = euler_step(original, sample, sigma_next / sigma_hat)
        self._step_index = index + 1
        return SchedulerOutput(prev_sample.to(model_output.dtype), original).as_asked(return_dict)
