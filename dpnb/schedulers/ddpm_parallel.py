"""DDPM at many timesteps at once: Shih et al. (2023), ParaDiGMS, arXiv:2305.16317."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from dpnb.schedulers.catalog import load_public_name
from dpnb.schedulers.ddpm import DDPMScheduler
from dpnb.schedulers.scheduler import Scheduler


class DDPMParallelScheduler(DDPMScheduler):
    """`DDPMScheduler` whose batch may hold samples of as many timesteps."""

    @property
    @override
    def compatibles(self) -> list[type[Scheduler]]:
        """Itself, and those that serve the same models."""
        return [type(self), *map(load_public_name, self.interchangeable)]

    def batch_step_no_noise(
        self, model_output: Tensor, timesteps: Tensor, sample: Tensor
    ) -> Tensor:
        """The means of the posteriors of arXiv:2006.11239, eq. 7, from each of `timesteps`.

        Args:
            model_output: what the model predicts for `sample`, of its shape `[batch, ...]`; with a
                learned variance `[batch, 2 · channels, ...]`.
            timesteps: entries of the run, `[batch]`.
            sample: the noisy samples.
        """
        model_output, _ = self._split_variance(model_output, sample)
        before = timesteps - len(self) // (self.num_inference_steps or len(self))
        alpha_bars = self._alpha_bars_at(timesteps, sample)
        following = self._alpha_bars_at(before, sample)
        alphas = alpha_bars / following
        original = self._predict_originals(
            model_output, sample, alpha_bars.sqrt(), (1 - alpha_bars).sqrt()
        )
        share = following.sqrt() * (1 - alphas) / (1 - alpha_bars)
        kept = alphas.sqrt() * (1 - following) / (1 - alpha_bars)
        return (share * original + kept * sample).to(sample.dtype)
