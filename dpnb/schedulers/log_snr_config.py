"""The settings that solvers in lambda share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

from typing_extensions import override

from dpnb.schedulers.config import PREDICTIONS, BetaConfig, Positive, Share, check_choice
from dpnb.validation import Range

LambdaMin: TypeAlias = Annotated[float, Range(-math.inf, 100.0)]
"""The smallest lambda that a run visits."""

FLOW = "flow_prediction"
"""What a flow-matching model predicts: noise less original."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LogSNRConfig(BetaConfig):
    """The settings that solvers in lambda share.

    With `use_flow_sigmas` the model is a flow-matching one, and `flow_shift` moves steps towards
    the noise.

    Raises:
        ValueError: a setting is not one of the values that this scheduler knows.
    """

    prediction_types: ClassVar[tuple[str, ...]] = (*PREDICTIONS, FLOW)
    flow_spacings: ClassVar[tuple[str, ...]] = ()
    """The spacings of sigmas that flow-matching models can have, too."""

    thresholding: bool = False
    dynamic_thresholding_ratio: Share = 0.995
    sample_max_value: Positive = 1.0
    lower_order_final: bool = True
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False
    use_flow_sigmas: bool = False
    flow_shift: Positive = 1.0

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prediction_type == FLOW and not self.use_flow_sigmas:
            raise ValueError(
                'prediction_type "flow_prediction" is that of flow-matching models, whose noise '
                "levels these are not; set use_flow_sigmas=True."
            )
        spacing = self.sigma_spacing
        if self.use_flow_sigmas and spacing not in (None, *self.flow_spacings):
            raise ValueError(
                f"use_flow_sigmas and use_{spacing}_sigmas are both on; sigmas have one spacing. "
                "Leave one of them on."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftedConfig(LogSNRConfig):
    """The settings of solvers in lambda whose flow may have a shift of its own in each run.

    With `use_dynamic_shifting` it is `exp(mu)`, see `LogSNRScheduler.set_timesteps`.

    Raises:
        ValueError: a setting is not one of the values that this scheduler knows.
    """

    use_dynamic_shifting: bool = False
    time_shift_type: Literal["exponential"] = "exponential"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("time_shift_type", self.time_shift_type, ("exponential",))


@dataclass(frozen=True, kw_only=True, eq=False)
class FinalSigmaConfig(LogSNRConfig):
    """The settings of solvers in lambda whose runs may end above sigma 0.

    Raises:
        ValueError: a setting is not one of the values that this scheduler knows.
    """

    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("final_sigmas_type", self.final_sigmas_type, ("zero", "sigma_min"))
