"""The base of flow-matching schedulers whose steps move with the size of the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.devices import Device
from dpnb.numbers import parse_number, parse_numbers
from dpnb.schedulers import spacing
from dpnb.schedulers.config import (
    LARGEST,
    BaseSchedulerConfig,
    Share,
    check_choice,
    check_descending,
    check_steps,
)
from dpnb.schedulers.flow_matching import FlowMatchConfig, FlowMatchScheduler
from dpnb.schedulers.spacing import Array
from dpnb.validation import Range

Tokens: TypeAlias = Annotated[int, Range(1, 1 << 24)]

Exponent: TypeAlias = Annotated[float, Range(-20, 20)]


@dataclass(frozen=True, kw_only=True, eq=False)
class DynamicShiftConfig(FlowMatchConfig):
    """Settings of `DynamicShiftScheduler`.

    `shift` moves steps towards the noise; with `use_dynamic_shifting` each run has its own, `mu`,
    which `base_shift` at `base_image_seq_len` tokens and `max_shift` at `max_image_seq_len` make
    linear in the number of tokens. `shift_terminal` stretches the schedule so that it ends there,
    and `invert_sigmas` makes sigmas ascend.
    """

    use_dynamic_shifting: bool = False
    base_shift: Exponent | None = 0.5
    max_shift: Exponent | None = 1.15
    base_image_seq_len: Tokens = 256
    max_image_seq_len: Tokens = 4096
    invert_sigmas: bool = False
    shift_terminal: Share | None = None
    use_karras_sigmas: bool | None = False
    use_exponential_sigmas: bool | None = False
    use_beta_sigmas: bool | None = False
    time_shift_type: Literal["exponential", "linear"] = "exponential"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("time_shift_type", self.time_shift_type, ("exponential", "linear"))

    def mu_for(self, tokens: int) -> float:
        """The shift of a picture of `tokens` tokens, where shifting is dynamic."""
        low = 0.5 if self.base_shift is None else self.base_shift
        high = 1.15 if self.max_shift is None else self.max_shift
        slope = (high - low) / (self.max_image_seq_len - self.base_image_seq_len)
        return tokens * slope + (low - slope * self.base_image_seq_len)


class DynamicShiftScheduler(FlowMatchScheduler):
    """Base of flow-matching schedulers with a shift for each run, section 5.3.2 of their paper."""

    config_class: ClassVar[type[BaseSchedulerConfig]] = DynamicShiftConfig
    config: DynamicShiftConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._shift = self.config.shift

    @property
    def shift(self) -> float:
        """How far steps move towards the noise, where shifting is not dynamic."""
        return self._shift

    def set_shift(self, shift: float) -> None:
        """Use another shift from the next `set_timesteps` on."""
        self._shift = parse_number("shift", shift)

    @override
    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Device | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """Set the timesteps of a run; the state of an earlier run is dropped.

        Args:
            num_inference_steps: the number of steps; at least one of this, `sigmas` and
                `timesteps`.
            device: where `timesteps` will be.
            sigmas: the descending noise levels to visit, before they are shifted; the final 0 is
                not among them.
            mu: the shift of this run, where shifting is dynamic.
            timesteps: what the model is given at each step, in training steps.

        Raises:
            ValueError: none of these, lengths that differ, or values that make no schedule.
            TypeError: something is no number.
        """
        config = self.config
        if config.use_dynamic_shifting and mu is None:
            raise ValueError(
                "use_dynamic_shifting needs the shift of each run; pass mu, for example "
                "scheduler.config.mu_for(tokens)."
            )
        mu = None if mu is None else parse_number("mu", mu)
        sigmas = None if sigmas is None else parse_numbers("sigmas", sigmas)
        timesteps = None if timesteps is None else parse_numbers("timesteps", timesteps)
        count = self._count_steps(num_inference_steps, sigmas, timesteps)
        levels = self._unshifted_sigmas(count, sigmas, timesteps)
        levels = spacing.shift_sigmas(levels, self._shift if mu is None else self._shift_of(mu))
        if config.shift_terminal:
            levels = spacing.stretch_to_terminal(levels, config.shift_terminal)
        if config.sigma_spacing is not None:
            ends = float(levels[-1]), float(levels[0])
            levels = spacing.space_sigmas(config.sigma_spacing, count, *ends)
        levels = levels.astype(np.float32)
        model_timesteps = levels * np.float32(len(self))
        if timesteps is not None:
            model_timesteps = np.array(timesteps, dtype=np.float32)
        if config.invert_sigmas:
            levels = np.float32(1) - levels
            model_timesteps = levels * np.float32(len(self))
        self.num_inference_steps = count
        self._set_sigmas(np.append(levels, np.float32(config.invert_sigmas)))
        self._set_schedule(model_timesteps, device)

    def time_shift(self, mu: float, sigma: float, t: Tensor) -> Tensor:
        """The noise levels `t` moved towards the noise: arXiv:2403.03206, section 5.3.2.

        Args:
            mu: the shift of a run, as for `set_timesteps`.
            sigma: an exponent of the ratio of original to noise; 1 in the paper.
            t: in (0, 1], of any shape.
        """
        factor = math.exp(mu) if self.config.time_shift_type == "exponential" else mu
        moved: Tensor = factor / (factor + (1 / t - 1) ** sigma)
        return moved

    def stretch_shift_to_terminal(self, t: Tensor) -> Tensor:
        """The noise levels `t` `[n]` stretched so that they end at `shift_terminal`.

        Raises:
            ValueError: there is none.
        """
        if not self.config.shift_terminal:
            raise ValueError(
                f"shift_terminal is {self.config.shift_terminal}, so that levels end anywhere; set "
                "it, or leave them as they are."
            )
        stretched: Tensor = spacing.stretch_to_terminal(t, self.config.shift_terminal)
        return stretched

    @override
    def _training_shift(self) -> float:
        return 1.0 if self.config.use_dynamic_shifting else self.config.shift

    def _shift_of(self, mu: float) -> float:
        if not self.config.use_dynamic_shifting:
            return self._shift
        return math.exp(mu) if self.config.time_shift_type == "exponential" else mu

    def _unshifted_sigmas(
        self, count: int, sigmas: Sequence[float] | None, timesteps: Sequence[float] | None
    ) -> Array:
        if sigmas is not None:
            return np.array(sigmas, dtype=np.float32)
        if timesteps is not None:
            return np.array(timesteps, dtype=np.float32) / len(self)
        return self._space_sigmas(count)

    def _count_steps(
        self,
        num_inference_steps: int | None,
        sigmas: Sequence[float] | None,
        timesteps: Sequence[float] | None,
    ) -> int:
        """The number of steps of a run, once the arguments of `set_timesteps` are checked."""
        lengths = {
            name: len(values)
            for name, values in (("sigmas", sigmas), ("timesteps", timesteps))
            if values is not None
        }
        if num_inference_steps is not None:
            steps = check_steps(num_inference_steps, len(self), is_continuous=True)
            lengths["num_inference_steps"] = steps
        if len(set(lengths.values())) != 1:
            found = ", ".join(f"{name}: {length}" for name, length in lengths.items())
            raise ValueError(
                f"set_timesteps was asked for runs of other lengths ({found or 'none at all'}); "
                "give num_inference_steps, sigmas or timesteps, or several of one length."
            )
        if sigmas is not None:
            check_descending("sigmas", sigmas, LARGEST)
        if timesteps is not None:
            check_descending("timesteps", timesteps, LARGEST)
        return lengths.popitem()[1]
