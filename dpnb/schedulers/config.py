"""The settings that schedulers share, and the rules that settings and requests must keep."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, TypeAlias, get_args

from typing_extensions import override

from dpnb.loading.config import Config
from dpnb.numbers import parse_int
from dpnb.schedulers.noise import BetaSchedule, PredictionType
from dpnb.schedulers.spacing import SigmaSpacing, TimestepSpacing
from dpnb.validation import Range

Steps: TypeAlias = Annotated[int, Range(1, 100_000)]
"""Steps of a schedule; networks are trained with a thousand, as a rule."""

Share: TypeAlias = Annotated[float, Range(0, 1)]

Beta: TypeAlias = Annotated[float, Range(1e-9, 1)]
"""The variance of the noise that a training step adds; it cannot be zero."""

Positive: TypeAlias = Annotated[float, Range(1e-6, 1e6)]
"""A noise level, a factor, or a bound of values."""

SHARED = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
"""The settings with which the constructors of schedulers begin."""

PREDICTIONS = ("epsilon", "sample", "v_prediction")
"""What the models of most schedulers predict."""

LARGEST = 3.4e38
"""The largest noise level: about the largest float32."""

LONGEST = 10
"""A run that visits fractional timesteps has at most `LONGEST` times the steps of training."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BaseSchedulerConfig(Config):
    """The settings that all schedulers share; the keys are those of `scheduler_config.json`.

    Raises:
        ValueError: more than one spacing of sigmas is on.
    """

    num_train_timesteps: Steps = 1000

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self._sigma_spacings()) > 1:
            raise ValueError(
                f"use_{'_sigmas and use_'.join(self._sigma_spacings())}_sigmas are all on; sigmas "
                "have one spacing. Leave one of them on."
            )

    @classmethod
    @override
    def positional(cls) -> tuple[str, ...]:
        """Those that schedulers share; what follows differs from one to the other."""
        return tuple(name for name in SHARED if name in cls.names())

    def own(self, name: str, otherwise: Any) -> Any:
        """The setting `name` where this class has it, and not only keeps it for another."""
        return self[name] if name in self.names() else otherwise

    @property
    def sigma_spacing(self) -> SigmaSpacing | None:
        """How sigmas are spaced; `None` where they follow the timesteps."""
        return next(iter(self._sigma_spacings()), None)

    def _sigma_spacings(self) -> list[SigmaSpacing]:
        known: tuple[SigmaSpacing, ...] = get_args(SigmaSpacing)
        own = self.names()
        return [
            name for name in known if f"use_{name}_sigmas" in own and self[f"use_{name}_sigmas"]
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class BetaConfig(BaseSchedulerConfig):
    """The settings of models that were trained with a beta for each step.

    `trained_betas` stand in for `beta_start`, `beta_end` and `beta_schedule`; a run needs one for
    each of `num_train_timesteps`.

    Raises:
        ValueError: a setting is not one of the values that this scheduler knows.
    """

    prediction_types: ClassVar[tuple[str, ...]] = PREDICTIONS

    beta_start: Beta = 0.0001
    beta_end: Beta = 0.02
    beta_schedule: BetaSchedule = "linear"
    trained_betas: tuple[Beta, ...] | None = None
    prediction_type: PredictionType = "epsilon"

    @override
    def __post_init__(self) -> None:
        check_choice("beta_schedule", self.beta_schedule, get_args(BetaSchedule))
        check_choice("prediction_type", self.prediction_type, self.prediction_types)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True, eq=False)
class SchedulerConfig(BetaConfig):
    """The settings of schedulers that let the spacing of timesteps be chosen.

    `steps_offset` is added to timesteps of `"leading"` spacing.

    Raises:
        ValueError: a setting is not one of the values that this scheduler knows.
    """

    timestep_spacing: TimestepSpacing = "linspace"
    steps_offset: Annotated[int, Range(0, 100_000)] = 0

    @override
    def __post_init__(self) -> None:
        check_choice("timestep_spacing", self.timestep_spacing, get_args(TimestepSpacing))
        super().__post_init__()
        if self.steps_offset >= self.num_train_timesteps:
            raise ValueError(
                f"steps_offset is {self.steps_offset}; it must be less than num_train_timesteps, "
                f"{self.num_train_timesteps}."
            )


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise ValueError unless the setting `name` has one of the values `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(str, choices))}.")


def check_steps(count: Any, trained: int, *, is_continuous: bool = False) -> int:
    """`count` as an int; ValueError unless it is a number of steps that a run can have.

    Args:
        count: as it was given, see `dpnb.numbers.parse_int`.
        trained: the number of steps that the model was trained with.
        is_continuous: whether a run visits fractional timesteps, and may have more steps.
    """
    number = parse_int("num_inference_steps", count)
    most = LONGEST * trained if is_continuous else trained
    if not 1 <= number <= most:
        words = f"{LONGEST} times the" if is_continuous else "the"
        raise ValueError(
            f"num_inference_steps is {number}; choose between 1 and {most}, {words} number of "
            "steps that the model was trained with."
        )
    return number


def check_descending(name: str, values: Sequence[float], bound: float) -> None:
    """Raise ValueError unless `values` descend strictly, from below `bound` to 0 or above."""
    descends = all(high > low for high, low in pairwise(values))
    if len(values) == 0 or not descends or values[0] >= bound or values[-1] < 0:
        raise ValueError(
            f"{name} {list(values)} make no schedule: they must descend, from below {bound} to "
            "no less than 0. Sort them, and leave out the rest."
        )
