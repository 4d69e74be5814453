"""DDIM at many timesteps at once: Shih et al. (2023), ParaDiGMS, arXiv:2305.16317."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from dpnb.schedulers.catalog import load_public_name
from dpnb.schedulers.ddim import DDIMScheduler
from dpnb.schedulers.scheduler import Scheduler


class DDIMParallelScheduler(DDIMScheduler):
    """`DDIMScheduler` whose batch may hold samples of as many timesteps."""

    @property
    @override
    def compatibles(self) -> list[type[Scheduler]]:
        """Itself, and those that serve the same models."""
        return [type(self), *map(load_public_name, self.interchangeable)]

    def batch_step_no_noise(
        self,
        model_output: Tensor,
        timesteps: Tensor,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
    ) -> Tensor:
        """The samples after a step of arXiv:2010.02502, eq. 12, from each of `timesteps`.

        Args:
            model_output: what the model predicts for `sample`, of its shape `[batch, ...]`.
            timesteps: entries of the run, `[batch]`.
            sample: the noisy samples.
            eta: 0, since a step adds no noise.
            use_clipped_model_output: derive the noise from the clipped prediction of the original.

        Raises:
            ValueError: before `set_timesteps`, or another `eta`.
        """
        self._check_ready()
        if eta != 0:
            raise ValueError(f"eta is {eta}; steps without noise have eta 0. Call step instead.")
        before = timesteps - len(self) // (self.num_inference_steps or 1)
        alpha_bars = self._alpha_bars_at(timesteps, sample)
        following = self._alpha_bars_at(before, sample)
        alphas, sigmas = alpha_bars.sqrt(), (1 - alpha_bars).sqrt()
        original = self._predict_originals(model_output, sample, alphas, sigmas)
        kind = self.config.prediction_type
        if use_clipped_model_output or kind == "sample":
            clean = original if use_clipped_model_output else model_output
            noise_pred = (sample - alphas * clean) / sigmas
        else:
            noise_pred = (
                model_output if kind == "epsilon" else alphas * model_output + sigmas * sample
            )
        stepped = following.sqrt() * original + (1 - following).sqrt() * noise_pred
        return stepped.to(sample.dtype)
