"""Schedules of a learning rate: transformers', by the names and arguments that scripts use."""

from __future__ import annotations

from enum import Enum
from typing import Any

from torch.optim import Optimizer

from dpnb.module_paths import find_elsewhere
from dpnb.silence import silence_imports

with silence_imports():
    from transformers.optimization import (
        get_constant_schedule,
        get_constant_schedule_with_warmup,
        get_cosine_schedule_with_warmup,
        get_cosine_with_hard_restarts_schedule_with_warmup,
        get_linear_schedule_with_warmup,
        get_polynomial_decay_schedule_with_warmup,
    )

__all__ = [
    "SchedulerType",
    "get_constant_schedule",
    "get_constant_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
    "get_cosine_with_hard_restarts_schedule_with_warmup",
    "get_linear_schedule_with_warmup",
    "get_polynomial_decay_schedule_with_warmup",
    "get_scheduler",
]

WITHOUT_END = ("constant", "constant_with_warmup")


class SchedulerType(str, Enum):
    """The names of the schedules."""

    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    LINEAR = "linear"
    COSINE = "cosine"
    COSINE_WITH_RESTARTS = "cosine_with_restarts"
    POLYNOMIAL = "polynomial"


NAMES = tuple(kind.value for kind in SchedulerType)


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)


def get_scheduler(
    name: str,
    optimizer: Optimizer,
    step_rules: None = None,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    num_cycles: int = 1,
    power: float = 1.0,
    last_epoch: int = -1,
) -> Any:
    """A schedule by its name, an `LRScheduler`.

    Args:
        name: one of `NAMES`; an enumeration's value is one too.
        optimizer: whose learning rate it is.
        step_rules: must be `None`.
        num_warmup_steps: in which the rate rises, where the schedule has any.
        num_training_steps: in all.
        num_cycles: restarts, where the schedule has any.
        power: of a polynomial.
        last_epoch: to go on from.

    Raises:
        ValueError: there is no such schedule, or a number is missing.
    """
    if name not in NAMES or step_rules is not None:
        raise ValueError(
            f"name is {str(name)!r}; use one of {', '.join(NAMES)}, or a schedule of "
            "torch.optim.lr_scheduler."
        )
    if name == "constant":
        return get_constant_schedule(optimizer, last_epoch=last_epoch)
    if num_warmup_steps is None:
        raise ValueError(f"the schedule {name!r} needs num_warmup_steps; give it.")
    if name == "constant_with_warmup":
        return get_constant_schedule_with_warmup(optimizer, num_warmup_steps, last_epoch)
    if num_training_steps is None:
        raise ValueError(f"the schedule {name!r} needs num_training_steps; give it.")
    steps = (optimizer, num_warmup_steps, num_training_steps)
    if name == "linear":
        return get_linear_schedule_with_warmup(*steps, last_epoch=last_epoch)
    if name == "cosine":
        return get_cosine_schedule_with_warmup(*steps, last_epoch=last_epoch)
    if name == "cosine_with_restarts":
        return get_cosine_with_hard_restarts_schedule_with_warmup(
            *steps, num_cycles=num_cycles, last_epoch=last_epoch
        )
    return get_polynomial_decay_schedule_with_warmup(*steps, power=power, last_epoch=last_epoch)
