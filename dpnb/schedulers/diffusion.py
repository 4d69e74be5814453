"""The base of all schedulers but flow matching: models trained with a beta for every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.devices import Device, upload
from dpnb.numbers import parse_numbers
from dpnb.schedulers import noise
from dpnb.schedulers.catalog import INTERCHANGEABLE
from dpnb.schedulers.config import LARGEST, BetaConfig, check_descending, check_steps
from dpnb.schedulers.derived import derived_from
from dpnb.schedulers.scheduler import Scheduler, Timestep
from dpnb.schedulers.spacing import Array, space_timesteps


class DiffusionScheduler(Scheduler):
    """A scheduler of a model that was trained with betas (Ho et al. 2020, arXiv:2006.11239).

    Attributes:
        alphas_cumprod: the share of signal variance after each training step, `[T]`, on the CPU.
        final_alpha_cumprod: that at which a run ends, `[]`, on the CPU.
    """

    config_class: ClassVar[type[BetaConfig]] = BetaConfig
    interchangeable: ClassVar[tuple[str, ...]] = INTERCHANGEABLE
    accepts: ClassVar[frozenset[str]] = frozenset()
    """What `set_timesteps` takes instead of a number of steps: `"timesteps"`, `"sigmas"`."""

    config: BetaConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self.betas = self._make_betas()
        self.alphas = 1.0 - self.betas
        self.alphas_cumprod = torch.cumprod(self.alphas, dim=0)
        is_clean = self.config.get("set_alpha_to_one", True)
        self.final_alpha_cumprod = torch.tensor(1.0) if is_clean else self.alphas_cumprod[0]
        self._final_alpha_bar = float(self.final_alpha_cumprod)
        self._set_schedule(np.arange(len(self))[::-1].copy(), None)

    @override
    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Device | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Set the timesteps of a run; the state of an earlier run is dropped.

        Args:
            num_inference_steps: the number of steps; exactly one of this, `timesteps` and `sigmas`.
            device: where `timesteps` will be.
            timesteps: the descending timesteps to visit, where the class `accepts` them.
            sigmas: the descending noise levels to visit, the final one included, where the class
                `accepts` them.

        Raises:
            ValueError: several of these, none, or values that make no schedule.
            TypeError: something is no number.
        """
        timesteps = None if timesteps is None else parse_numbers("timesteps", timesteps)
        sigmas = None if sigmas is None else parse_numbers("sigmas", sigmas)
        self._check_betas()
        count = self._count_steps(num_inference_steps, timesteps, sigmas)
        as_timesteps = None if timesteps is None else np.array(timesteps)
        as_sigmas = None if sigmas is None else np.array(sigmas)
        planned = self._plan_timesteps(count, as_timesteps, as_sigmas)
        self.num_inference_steps = len(planned) if as_timesteps is not None else count
        self._set_schedule(planned, device)

    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        """The timesteps of a run of `count` steps, in the dtype of `self.timesteps`."""
        if timesteps is None:
            kind = self.config.own("timestep_spacing", "linspace")
            offset = self.config.own("steps_offset", 0)
            timesteps = space_timesteps(kind, count, len(self), offset)
            # With an offset, a run of almost all steps would begin above the last training step.
            timesteps = timesteps - max(timesteps[0] - (len(self) - 1), 0)
        planned: Array = timesteps.round().astype(np.int64)
        return planned

    @property
    def _visits_fractional_timesteps(self) -> bool:
        """Whether a run may visit noise levels between those of training."""
        return False

    @override
    def _check_ready(self) -> None:
        super()._check_ready()
        self._check_betas()

    def _check_betas(self) -> None:
        given = self.config.trained_betas
        if given is not None and len(given) < len(self):
            raise ValueError(
                f"trained_betas has {len(given)} entries; give one for each of "
                f"num_train_timesteps, {len(self)}."
            )

    @derived_from("alphas_cumprod")
    def _alpha_bar_table(self, alphas_cumprod: Tensor) -> Array:
        return alphas_cumprod.detach().cpu().numpy()

    @derived_from("alphas_cumprod")
    def _alpha_bars(self, alphas_cumprod: Tensor) -> list[float]:
        numbers: list[float] = alphas_cumprod.tolist()
        return numbers

    @derived_from("alphas_cumprod")
    def _train_sigmas(self, alphas_cumprod: Tensor) -> Array:
        return noise.alphas_to_sigmas(alphas_cumprod.detach().cpu()).numpy()

    @derived_from("alphas_cumprod")
    def _placed_tables(
        self, alphas_cumprod: Tensor
    ) -> dict[tuple[torch.device, type[Tensor]], Tensor]:
        return {}

    @derived_from("final_alpha_cumprod")
    def _final_alpha_bar(self, final_alpha_cumprod: Tensor) -> float:
        return float(final_alpha_cumprod)

    def previous_timestep(self, timestep: Timestep) -> Tensor:
        """The entry of `timesteps` after `timestep`, which is less noisy; -1 after the last."""
        following = self.index_for_timestep(timestep) + 1
        is_last = following >= len(self._schedule)
        return torch.tensor(-1) if is_last else self.timesteps[following]

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """`original_samples` `[batch, ...]` with the noise of `timesteps` `[batch]` or `[]`.

        Ho et al. (2020), arXiv:2006.11239, eq. 4.
        """
        alpha, sigma = self._amplitudes(timesteps, original_samples)
        return alpha * original_samples + sigma * noise

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The target of a `"v_prediction"` model for `sample` under `noise`, both `[batch, ...]`.

        Salimans & Ho (2022), arXiv:2202.00512, appendix D.
        """
        alpha, sigma = self._amplitudes(timesteps, sample)
        return alpha * noise - sigma * sample

    def predict_original_and_noise(
        self, model_output: Tensor, sample: Tensor, timestep: Timestep
    ) -> tuple[Tensor, Tensor]:
        """The original sample and the noise that `model_output` means, by `prediction_type`.

        Nothing is clipped.

        Args:
            model_output: what the model predicts for `sample`, of its shape `[batch, ...]`.
            sample: the noisy sample, as `add_noise` makes it.
            timestep: an entry of `timesteps`.
        """
        mixture, kind = (
            self._mixture(self.index_for_timestep(timestep)),
            self.config.prediction_type,
        )
        a, b = noise.original_weights(kind, *mixture)
        c, d = noise.noise_weights(kind, *mixture)
        original = noise.weighted_sum((a, sample), (b, model_output))
        return original, noise.weighted_sum((c, sample), (d, model_output))

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor | None:
        """As `Scheduler.predict_original_sample`, of a `sample` as `add_noise` makes it."""
        mixture = self._mixture(self._find_index(timestep))
        a, b = noise.original_weights(self.config.prediction_type, *mixture)
        return noise.weighted_sum((a, sample), (b, model_output))

    def _mixture(self, index: int) -> tuple[float, float]:
        """The factors of original and noise at an index of the schedule."""
        step = min(int(self._schedule[index]), len(self) - 1)
        alpha_bar = float(self._alpha_bar_table[step])
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)

    def _count_steps(
        self,
        num_inference_steps: int | None,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
    ) -> int:
        """The number of steps of a run, once the arguments of `set_timesteps` are checked."""
        name = type(self).__name__
        asked = {
            "num_inference_steps": num_inference_steps,
            "timesteps": timesteps,
            "sigmas": sigmas,
        }
        given = [key for key, value in asked.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"set_timesteps was given {' and '.join(given) or 'nothing'}; it takes exactly one "
                "of num_inference_steps, timesteps and sigmas. Leave the others out."
            )
        if num_inference_steps is not None:
            between = self._visits_fractional_timesteps
            return check_steps(num_inference_steps, len(self), is_continuous=between)
        if given[0] not in self.accepts:
            raise ValueError(
                f"{name} does not take custom {given[0]}; pass num_inference_steps instead."
            )
        if self.config.sigma_spacing and timesteps is not None:
            raise ValueError(
                f"{name} cannot take timesteps with use_{self.config.sigma_spacing}_sigmas, which "
                "chooses them; pass num_inference_steps, or switch it off."
            )
        if timesteps is not None:
            check_descending("timesteps", timesteps, len(self))
            return len(timesteps)
        levels = sigmas or ()
        is_kept = len(levels) > 2 and levels[-1] == levels[-2]  # the last one to the end
        check_descending("sigmas", levels[:-1] if is_kept else levels, LARGEST)
        if len(levels) < 2:
            raise ValueError(
                f"sigmas {list(levels)} make no schedule: the last of them is where the run ends. "
                "Give at least two."
            )
        return len(levels) - 1

    def _amplitudes(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise amplitudes at `timesteps`, shaped and placed to multiply `like`."""
        table, places = self._alpha_bars_on_device_of(timesteps), timesteps.long().reshape(-1)
        alpha_bars = table.index_select(0, places)
        alpha_bars = alpha_bars.to(like.device, non_blocking=True).view(-1, *[1] * (like.ndim - 1))
        return alpha_bars.sqrt().to(like.dtype), (1 - alpha_bars).sqrt().to(like.dtype)

    def _alpha_bars_on_device_of(self, timesteps: Tensor) -> Tensor:
        """`alphas_cumprod` `[T]` on the device of `timesteps`, copied there once in a run.

        Fake tensors, by which memory is predicted, have a copy of their own.
        """
        place = timesteps.device, type(timesteps)
        if place not in self._placed_tables:
            table = torch.from_numpy(self._alpha_bar_table)
            self._placed_tables[place] = upload(table, timesteps.device)
        return self._placed_tables[place]

    @override
    def _set_schedule(self, timesteps: Array, device: Device | None) -> None:
        super()._set_schedule(timesteps, device)
        self._placed_tables = {}

    def _make_betas(self) -> Tensor:
        config = self.config
        if config.trained_betas is not None:
            betas = torch.tensor(config.trained_betas, dtype=torch.float32)
        else:
            betas = noise.make_betas(
                config.beta_schedule, config.beta_start, config.beta_end, len(self)
            )
        is_rescaled = config.own("rescale_betas_zero_snr", False)
        return noise.rescale_zero_terminal_snr(betas) if is_rescaled else betas
