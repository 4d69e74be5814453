"""DPM-Solver-2 in sigma, of Katherine Crowson's k-diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise, spacing
from dpnb.schedulers.config import Beta, SchedulerConfig
from dpnb.schedulers.derived import derived_from
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_exploding import SecondOrderScheduler


@dataclass(frozen=True, kw_only=True, eq=False)
class KDPM2DiscreteConfig(SchedulerConfig):
    """Settings of `KDPM2DiscreteScheduler`."""

    beta_start: Beta = 0.00085
    beta_end: Beta = 0.012
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False


class Levels(NamedTuple):
    """The noise levels of a run, those halfway between among them.

    Args:
        sigmas: at each entry of `timesteps`.
        ends: where the slope at each entry leads.
    """

    sigmas: list[float]
    ends: list[float]


class KDPM2DiscreteScheduler(SecondOrderScheduler):
    """The midpoint rule in log sigma: a trial Euler step halfway, then one with the slope there.

    It is DPM-Solver-2 of Lu et al. (2022), arXiv:2206.00927, algorithm 1, with r = 1/2. The noise
    levels halfway are entries of `timesteps`, between those of the run, and `add_noise` adds there
    as much as the model is told (in diffusers as much as for the next whole step); the last step
    goes to sigma 0 and is an Euler step.
    """

    config_class: ClassVar[type[SchedulerConfig]] = KDPM2DiscreteConfig
    config: KDPM2DiscreteConfig
    _start: Tensor | None
    """The sample that a trial step began with."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._set_schedule(self._plan_timesteps(len(self), None, None), None)

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
        """Half a step of arXiv:2206.00927, algorithm 1: to the middle, or to the end."""
        advanced = self._advance(model_output, self._current_index(timestep), sample)
        return SchedulerOutput(*advanced).as_asked(return_dict)

    def _advance(self, model_output: Tensor, index: int, sample: Tensor) -> tuple[Tensor, Tensor]:
        """The next sample, and the predicted original."""
        original = self._predict_original(model_output, sample, self._sigmas[index])
        start, begun = (sample, index) if self._start is None else (self._start, index - 1)
        share = (self._levels.ends[index] - self._sigmas[begun]) / self._sigmas[index]
        prev_sample = noise.weighted_sum((1.0, start), (share, sample - original))
        self._start = sample if self._start is None else None
        self._step_index = index + 1
        return prev_sample, original

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        whole = super()._plan_timesteps(count, timesteps, sigmas)
        if self.config.use_karras_sigmas:
            whole = whole.round()
        halfway = self._sigmas[1:-1:2]
        between = spacing.sigmas_to_timesteps(np.array(halfway), np.log(self._train_sigmas))
        return interleave(whole, between.astype(np.float32))

    @override
    def _set_sigmas(self, levels: Array, final: float) -> None:
        table = np.append(levels, final).astype(np.float32)
        self.sigmas = torch.from_numpy(np.concatenate([table[:1], table[1:].repeat(2), table[-1:]]))
        self._levels = self._find_levels(table)
        self._start = None

    @derived_from("sigmas")
    def _levels(self, sigmas: Tensor) -> Levels:
        return self._find_levels(sigmas[::2].cpu().numpy())

    @property
    @override
    def _sigmas(self) -> list[float]:
        return self._levels.sigmas

    def _find_levels(self, table: Array) -> Levels:
        """The levels between those of the run, `[n + 1]`."""
        whole = table.astype(np.float64)
        ends = self._find_ends(whole)
        halfway = np.sqrt(ends * whole[:-1])
        return Levels(
            interleave(whole, halfway).tolist()[:-1], interleave(halfway, ends[:-1]).tolist()
        )

    def _find_ends(self, sigmas: Array) -> Array:
        """The noise level to which each whole step leads, `[n]`, of those of the run `[n + 1]`."""
        return sigmas[1:]


def interleave(first: Array, second: Array) -> Array:
    """The entries of `first` `[n]`, with those of `second` `[n - 1]` between them."""
    entries = np.empty(len(first) + len(second), dtype=first.dtype)
    entries[::2], entries[1::2] = first, second
    return entries
