"""What would have let a run succeed that ran out of memory."""

from __future__ import annotations

import torch

from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.settings import describe
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Effect, Strategy
from dpnb.widgets.state import Remedy

SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a run has failed because memory was used up."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def remedy(stack: StrategyStack, stage: str) -> Remedy | None:
    """The cheapest switch that lowers the memory of a stage and is not on yet.

    Cheap is what leaves the picture as it is, and what concerns few stages beside this one.

    Args:
        stack: of the pipeline that has failed.
        stage: where it has failed.
    """
    taken = {strategy.slot for strategy in stack.active}
    for strategy in sorted(_helping(stage), key=_cost):
        if strategy.slot not in taken and stack.obstacle(strategy) is None:
            return Remedy(
                strategy, f"{describe(strategy)} needs less memory for {stage}, where it ran out."
            )
    return None


def _helping(stage: str) -> list[Strategy]:
    return [kind() for kind in CATALOG if stage in kind.relieves]


def _cost(strategy: Strategy) -> tuple[bool, int]:
    return strategy.effect is not Effect.EXACT, len(strategy.relieves)
