"""Denoising diffusion probabilistic models: Ho et al. (2020), arXiv:2006.11239."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import SchedulerConfig, check_choice
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.variance_preserving import (
    VariancePreservingConfig,
    VariancePreservingScheduler,
)

VarianceType: TypeAlias = Literal[
    "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"
]


@dataclass(frozen=True, kw_only=True, eq=False)
class DDPMConfig(VariancePreservingConfig):
    """Settings of `DDPMScheduler`.

    The fixed variances are the two of Ho et al. (2020), section 3.2; their `_log` forms are the
    same numbers, and None, as files of other classes have it, is the small one. `"learned"` ones
    are the second half of the model's channels: Nichol & Dhariwal (2021), arXiv:2102.09672, eq. 15.
    """

    variance_type: VarianceType | None = "fixed_small"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("variance_type", self.variance_type, (*get_args(VarianceType), None))

    @property
    def is_learned(self) -> bool:
        """Whether the model predicts variances."""
        return self.variance_type in ("learned", "learned_range")


class DDPMScheduler(VariancePreservingScheduler):
    """DDPM: ancestral sampling along the whole training schedule, or part of its timesteps.

    Steps may come in any order, as for `DDIMScheduler`, but each must be an entry of the schedule.
    """

    config_class: ClassVar[type[SchedulerConfig]] = DDPMConfig
    accepts: ClassVar[frozenset[str]] = frozenset({"timesteps"})
    needs_set_timesteps: ClassVar[bool] = False
    config: DDPMConfig

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One draw from the posterior of arXiv:2006.11239, eq. 7; see `Scheduler.step`.

        With a learned variance `model_output` is `[batch, 2 · channels, ...]`.
        """
        t = self._timestep_value(timestep)
        alpha_bar, alpha_bar_prev = self._alpha_bars[t], self._alpha_bar_prev(t)
        beta, smallest = self._variance_bounds(t)
        alpha = 1 - beta
        noise_pred, log_or_variance = self._split_variance(model_output, sample)

        original = self._predict_original(noise_pred, sample, alpha_bar)
        prev_sample = noise.weighted_sum(
            (math.sqrt(alpha_bar_prev) * beta / (1 - alpha_bar), original),
            (math.sqrt(alpha) * (1 - alpha_bar_prev) / (1 - alpha_bar), sample),
        )
        if t > 0:
            fresh = noise.randn_like(noise_pred, generator)
            std = self._std(smallest, beta, log_or_variance)
            prev_sample = (
                prev_sample + std * fresh
                if isinstance(std, Tensor)
                else noise.weighted_sum((1.0, prev_sample), (std, fresh))
            )
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor:
        noise_pred, _ = self._split_variance(model_output, sample)
        return super().predict_original_sample(noise_pred, timestep, sample)

    def _alpha_bar_prev(self, t: int) -> float:
        following = self.index_for_timestep(t) + 1
        is_last = following >= len(self._schedule)
        return 1.0 if is_last else self._alpha_bars[int(self._schedule[following])]

    def _variance_bounds(self, t: int) -> tuple[float, float]:
        """The largest variance of what the step at `t` adds, which is its beta, and the smallest.

        Alphas are rounded as the table of their products is.
        """
        alpha_bar, alpha_bar_prev = self._alpha_bars[t], self._alpha_bar_prev(t)
        alpha = self._alpha_bar_table.dtype.type(alpha_bar / alpha_bar_prev)
        beta = 1 - float(alpha)
        return beta, max((1 - alpha_bar_prev) / (1 - alpha_bar) * beta, 1e-20)

    def _get_variance(
        self, t: int, predicted_variance: Tensor | None = None, variance_type: str | None = None
    ) -> Tensor:
        """What the step at `t` adds: its variance, and what of that the `_log` kinds are made of.

        Args:
            t: the timestep.
            predicted_variance: of the model, where it is learned.
            variance_type: must be the configuration's, or `None`.

        Raises:
            ValueError: it is another.
        """
        kind = self.config.variance_type
        if variance_type not in (None, kind):
            raise ValueError(
                f"variance_type is {variance_type!r}, and this scheduler was built for {kind!r}; "
                "build another: from_config(config, variance_type=...)."
            )
        beta, smallest = self._variance_bounds(t)
        std = torch.as_tensor(self._std(smallest, beta, predicted_variance))
        if kind == "fixed_small_log":
            return std
        return 2 * std.log() if kind in ("fixed_large_log", "learned_range") else std**2

    def _split_variance(self, model_output: Tensor, sample: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.config.is_learned:
            return model_output, None
        channels = sample.shape[1]
        if model_output.shape[1] != 2 * channels:
            raise ValueError(
                f"variance_type {self.config.variance_type!r} needs {2 * channels} channels of "
                f"model output for {channels} of the sample, not {model_output.shape[1]}; use a "
                'model that learns its variance, or variance_type="fixed_small".'
            )
        return model_output[:, :channels], model_output[:, channels:]

    def _std(self, smallest: float, largest: float, learned: Tensor | None) -> float | Tensor:
        """The standard deviation of the noise to add, given the bounds of its variance."""
        if learned is None:
            is_large = self.config.variance_type in ("fixed_large", "fixed_large_log")
            return math.sqrt(largest if is_large else smallest)
        if self.config.variance_type == "learned":
            return learned.sqrt()
        share = (learned + 1) / 2
        log_variance = share * math.log(largest) + (1 - share) * math.log(smallest)
        return (0.5 * log_variance).exp()
