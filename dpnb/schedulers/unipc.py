"""UniPC, a unified predictor-corrector: Zhao et al. (2023), arXiv:2302.04867."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.devices import Device
from dpnb.generators import Generators
from dpnb.schedulers import noise, spacing
from dpnb.schedulers.config import (
    BetaConfig,
    Positive,
    SchedulerConfig,
    Share,
    check_choice,
    check_descending,
)
from dpnb.schedulers.log_snr import NOISIEST, LogSNRScheduler
from dpnb.schedulers.log_snr_config import FinalSigmaConfig, ShiftedConfig
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class UniPCMultistepConfig(FinalSigmaConfig, ShiftedConfig, SchedulerConfig):
    """Settings of `UniPCMultistepScheduler`.

    With `predict_x0` the predicted original is extrapolated, else the noise. `solver_type` is the
    function B(h) of the paper's section 3.1; names of other solvers' types count as `"bh2"`. Steps
    in `disable_corrector` are not corrected. A `solver_p` in place of the predictor is not
    supported. `sigma_min` and `sigma_max` bound karras, exponential and beta sigmas. Flows may
    have karras sigmas, and with `shift_terminal` end there before their last step.
    """

    flow_spacings: ClassVar[tuple[str, ...]] = ("karras",)

    solver_order: int = 2
    rescale_betas_zero_snr: bool = False
    predict_x0: bool = True
    solver_type: str = "bh2"
    disable_corrector: tuple[int, ...] = ()
    solver_p: object = None
    sigma_min: Positive | None = None
    sigma_max: Positive | None = None
    shift_terminal: Share | None = None

    @override
    def __post_init__(self) -> None:
        if self.solver_type in ("midpoint", "heun", "logrho"):
            object.__setattr__(self, "solver_type", "bh2")
        super().__post_init__()
        check_choice("solver_type", self.solver_type, ("bh1", "bh2"))
        if self.solver_order < 1:
            raise ValueError(f"solver_order is {self.solver_order}; choose 1 or above.")
        if self.final_sigmas_type == "zero" and not self.predict_x0:
            raise ValueError(
                "With predict_x0=False a run cannot end at sigma 0, where noise is not defined; "
                'set final_sigmas_type="sigma_min".'
            )
        if self.solver_p is not None:
            raise ValueError("solver_p is not supported; leave it at None.")
        if self.shift_terminal is not None and not self.use_flow_sigmas:
            raise ValueError(
                f"shift_terminal is {self.shift_terminal}, but is for flow-matching models; set "
                "use_flow_sigmas=True, or leave it at None."
            )


class UniPCMultistepScheduler(LogSNRScheduler):
    """UniPC of any order: each model output first corrects its sample, then predicts the next."""

    config_class: ClassVar[type[BetaConfig]] = UniPCMultistepConfig
    config: UniPCMultistepConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._last_sample: Tensor | None = None
        self._last_order = 0

    @override
    def set_timesteps(  # type: ignore[override]
        self,
        num_inference_steps: int | None = None,
        device: Device | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """As `LogSNRScheduler.set_timesteps`, in another order."""
        super().set_timesteps(num_inference_steps, device, mu, timesteps, sigmas)

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
        """UniC, arXiv:2302.04867, algorithm 1, then UniP, algorithm 2; see `Scheduler.step`.

        `pred_original_sample` is None without `predict_x0`.
        """
        index = self._current_index(timestep)
        config = self.config
        output = self._convert_output(model_output, sample, index)
        if self._last_sample is not None and index - 1 not in config.disable_corrector:
            sample = self._advance(self._last_sample, index - 1, self._last_order, output)
        self._record_output(output, index)
        self._last_sample, self._last_order = sample, self._order(index)
        prev_sample = self._advance(sample, index, self._last_order)
        self._step_index = index + 1
        original = output if return_dict and config.predict_x0 else None
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    @override
    def _convert_output(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        convert = self._predict_original if self.config.predict_x0 else self._predict_noise
        return convert(model_output, sample, index)

    @override
    def _threshold(self, original: Tensor) -> Tensor:
        return super()._threshold(original) if self.config.predict_x0 else original

    def _advance(
        self, sample: Tensor, index: int, order: int, reached: Tensor | None = None
    ) -> Tensor:
        """From `index` to the next entry: UniP, or UniC once what it `reached` is known."""
        newest = self._outputs[0]
        h = self._lambdas[index + 1] - self._lambdas[index]
        scale, share, signed = self._scales(index, h)
        places = [(place - self._lambdas[index]) / h for place in self._output_lambdas[1:order]]
        outputs = self._outputs[1:order]
        if reached is not None:
            places, outputs = [*places, 1.0], [*outputs, reached]

        weights = [
            -scale * weight / place
            for weight, place in zip(self._solve_weights(places, signed), places, strict=True)
        ]
        own = -scale * math.expm1(signed) - sum(weights)
        return noise.weighted_sum(
            (share, sample), (own, newest), *zip(weights, outputs, strict=True)
        ).to(sample.dtype)

    def _scales(self, index: int, h: float) -> tuple[float, float, float]:
        """The weight of outputs, the weight of the sample, and h with its sign."""
        alpha, sigma = self._alphas[index + 1], self._stds[index + 1]
        if self.config.predict_x0:
            return alpha, sigma / self._stds[index], -h
        return sigma, alpha / self._alphas[index], h

    def _solve_weights(self, places: list[float], h: float) -> list[float]:
        """B(h) times the weights `a` of the differences at `places`: theorem 3.1.

        A single difference has weight 1/2 in place of the solution, as in the authors' code.
        """
        amount = h if self.config.solver_type == "bh1" else math.expm1(h)
        if len(places) == 1:
            return [0.5 * amount]
        powers = np.vander(np.array(places), increasing=True).T
        values: list[float] = np.linalg.solve(powers, _phis(h, len(places))).tolist()
        return values

    def _order(self, index: int) -> int:
        """The order of this step: lower at the start, and at the end by `lower_order_final`."""
        if self._lambdas[index + 1] in (math.inf, self._lambdas[index]):
            return 1
        order = min(self.config.solver_order, len(self._outputs))
        left = len(self._schedule) - index
        return min(order, left) if self.config.lower_order_final else order

    @override
    def _shift_of(self, mu: float | None) -> float:
        if mu is None and self.config.use_dynamic_shifting:
            raise ValueError("use_dynamic_shifting needs the shift of each run; pass mu.")
        return super()._shift_of(mu)

    @override
    def _count_steps(
        self,
        num_inference_steps: int | None,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
    ) -> int:
        """As there; a flow takes sigmas, before they are shifted, without the final 0."""
        takes_sigmas = self.config.use_flow_sigmas and self.config.sigma_spacing is None
        if sigmas is None or not takes_sigmas or timesteps is not None:
            return super()._count_steps(num_inference_steps, timesteps, sigmas)
        check_descending("sigmas", sigmas, math.nextafter(1, 2))
        if sigmas[-1] == 0:
            raise ValueError(
                f"sigmas {list(sigmas)} end at 0, where the run does by itself; leave it out."
            )
        return len(sigmas)

    def _flow_levels(self, count: int, sigmas: Array | None) -> Array:
        """Noise levels of a flow: shifted, or karras ones of its ratio of noise to original.

        The first is short of 1, where lambda is infinite.
        """
        config = self.config
        if config.sigma_spacing is not None:
            ratios, _ = self._space_sigmas(config.sigma_spacing, count)
            levels: Array = ratios / (ratios + 1)
            return levels
        if sigmas is None:
            sigmas = np.linspace(1, 1 / len(self), count + 1)[:-1]
        levels = spacing.shift_sigmas(sigmas, self._shift)
        if config.shift_terminal:
            levels = spacing.stretch_to_terminal(levels, config.shift_terminal)
        return np.minimum(levels, NOISIEST)

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        config = self.config
        planned = self._space_timesteps(count, len(self)).astype(np.int64)
        smallest = float(self._train_sigmas[0])
        if config.use_flow_sigmas:
            levels = self._flow_levels(count, sigmas)
            planned, smallest = levels * len(self), float(levels[-1])
        elif config.sigma_spacing is None:
            levels = self._sigmas_at(planned)
        else:
            levels, planned = self._space_sigmas(config.sigma_spacing, count)
            smallest = float(levels[-1])
            if config.sigma_spacing == "karras":
                planned = planned.round()
        self._set_sigmas(levels, 0.0 if config.final_sigmas_type == "zero" else smallest)
        self._last_sample, self._last_order = None, 0
        return planned.astype(np.int64)


def _phis(h: float, count: int) -> list[float]:
    """`k! · h · phi_{k+1}(h)` for `k` from 1 to `count`: theorem 3.1."""
    phis, phi = [], math.expm1(h)
    for k in range(1, count + 1):
        phi = phi / h - 1 / math.factorial(k)
        phis.append(phi * math.factorial(k))
    return phis
