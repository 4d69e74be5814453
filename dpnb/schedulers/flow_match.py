"""Euler's method for flow-matching models, which predict a straight path from noise to sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import BaseSchedulerConfig
from dpnb.schedulers.dynamic_shift import DynamicShiftConfig, DynamicShiftScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowMatchEulerDiscreteConfig(DynamicShiftConfig):
    """Settings of `FlowMatchEulerDiscreteScheduler`.

    With `stochastic_sampling` each step adds fresh noise to the predicted original sample.
    """

    stochastic_sampling: bool = False


class FlowMatchEulerDiscreteScheduler(DynamicShiftScheduler):
    """Euler steps along the flow of Esser et al. (2024), arXiv:2403.03206, sections 2 and 3."""

    config_class: ClassVar[type[BaseSchedulerConfig]] = FlowMatchEulerDiscreteConfig
    config: FlowMatchEulerDiscreteConfig

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
        per_token_timesteps: Tensor | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One Euler step to the next noise level, in float32; see `Scheduler.step`.

        Args:
            model_output: as there.
            timestep: as there.
            sample: as there; `[batch, tokens, channels]` where tokens have timesteps of their own.
            s_churn: not used; with it, `s_tmin`, `s_tmax` and `s_noise` stand where diffusers has
                them.
            s_tmin: not used.
            s_tmax: not used.
            s_noise: not used.
            generator: as there.
            per_token_timesteps: where each token is, `[batch, tokens]`; it goes to the next noise
                level of the run below that. `model_output` is the flow from noise to sample, and
                the result is not cast to its dtype.
            return_dict: as there.
        """
        index = self._current_index(timestep)
        sample = noise.at_least_float32(sample)
        self._step_index = index + 1
        if per_token_timesteps is not None:
            stepped = self._step_tokens(model_output, sample, per_token_timesteps, generator)
            return SchedulerOutput(stepped).as_asked(return_dict)
        sigma, following = self._run_sigmas[index : index + 2]
        if self.config.stochastic_sampling:
            original = noise.weighted_sum((1.0, sample), (-float(sigma), model_output))
            fresh = noise.randn_like(sample, generator)
            stepped = noise.weighted_sum(
                (1 - float(following), original), (float(following), fresh)
            )
        else:
            stepped = torch.add(sample, model_output, alpha=float(following - sigma))
        return SchedulerOutput(stepped.to(model_output.dtype)).as_asked(return_dict)

    def _step_tokens(
        self, model_output: Tensor, sample: Tensor, timesteps: Tensor, generator: Generators
    ) -> Tensor:
        """Each token's step, from its own of `timesteps` `[batch, tokens]`."""
        sigmas = (timesteps / len(self)).unsqueeze(-1)
        levels = torch.from_numpy(self._run_sigmas).to(sigmas.device, non_blocking=True)
        below = torch.where(levels < sigmas - 1e-6, levels, 0)
        following = below.amax(dim=-1, keepdim=True)
        if not self.config.stochastic_sampling:
            return sample + (sigmas - following) * model_output
        original = sample - sigmas * model_output
        return (1 - following) * original + following * noise.randn_like(sample, generator)
