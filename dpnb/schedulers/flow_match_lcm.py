"""Multistep sampling of consistency models that were distilled from a flow-matching model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from torch import Tensor
from torch.nn.functional import interpolate
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.numbers import parse_numbers
from dpnb.schedulers import noise
from dpnb.schedulers.config import BaseSchedulerConfig, Positive, check_choice
from dpnb.schedulers.dynamic_shift import DynamicShiftConfig, DynamicShiftScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep

UpscaleMode: TypeAlias = Literal[
    "nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact"
]


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowMatchLCMConfig(DynamicShiftConfig):
    """Settings of `FlowMatchLCMScheduler`.

    `scale_factors` are the sizes of the predicted originals after all steps but the last, as shares
    of that of the first sample; `upscale_mode` is how they are resized. Such samples grow from step
    to step: Starodubcev et al. (2025), arXiv:2503.16397.
    """

    scale_factors: tuple[Positive, ...] | None = None
    upscale_mode: UpscaleMode | None = "bicubic"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("upscale_mode", self.upscale_mode, (*get_args(UpscaleMode), None))


class FlowMatchLCMScheduler(DynamicShiftScheduler):
    """Each step predicts the original sample, and adds fresh noise for the next timestep.

    It is the sampling of Luo et al. (2023), arXiv:2310.04378, algorithm 3, on a straight path.
    """

    config_class: ClassVar[type[BaseSchedulerConfig]] = FlowMatchLCMConfig
    config: FlowMatchLCMConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._scale_factors = self.config.scale_factors
        self._upscale_mode = self.config.upscale_mode
        self._first_size: list[int] = []

    def set_scale_factors(
        self, scale_factors: Sequence[float] | None, upscale_mode: UpscaleMode | None
    ) -> None:
        """Use other scale factors than the configuration's, from the next step on."""
        check_choice("upscale_mode", upscale_mode, (*get_args(UpscaleMode), None))
        given = None if scale_factors is None else parse_numbers("scale_factors", scale_factors)
        self._scale_factors = None if given is None else tuple(given)
        self._upscale_mode = upscale_mode

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One step, in float32; see `Scheduler.step`.

        With scale factors the next sample `[batch, channels, ...]` is of another size.
        """
        self._check_scale_factors()
        if self._step_index is None:
            self._first_size = [*model_output.shape[2:]]
        index = self._current_index(timestep)
        sigma, following = (float(level) for level in self._run_sigmas[index : index + 2])
        sample = noise.at_least_float32(sample)
        original = noise.weighted_sum((1.0, sample), (-sigma, model_output))
        original = self._resize(original, index)
        fresh = noise.randn_like(original, generator)
        prev_sample = noise.weighted_sum((1 - following, original), (following, fresh))
        self._step_index = index + 1
        return SchedulerOutput(prev_sample.to(model_output.dtype)).as_asked(return_dict)

    def _resize(self, original: Tensor, index: int) -> Tensor:
        factors, mode = self._scale_factors, self._upscale_mode
        if not factors or mode is None or index >= len(factors):
            return original
        size = [round(factors[index] * length) for length in self._first_size]
        return interpolate(original, size=size, mode=mode)

    def _check_scale_factors(self) -> None:
        count = len(self._scale_factors or ())
        if count and self._upscale_mode is not None and count + 1 != len(self._schedule):
            raise ValueError(
                f"There are {count} scale_factors for a run of {len(self._schedule)} steps; give "
                "one for each step but the last, or call set_scale_factors(None, None)."
            )
