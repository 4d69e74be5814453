"""When memory runs out: the error that a run ends with, and what would have lowered its memory.

A strategy that lowers the memory of a stage is called a memory saver.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from traceback import clear_frames
from typing import TypeVar

import torch
from typing_extensions import override

from dpnb.errors import DpnbError
from dpnb.stages import Stage
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.vae import VaeSlicing, VaeTiling

T = TypeVar("T")

MEMORY_SAVERS: tuple[Strategy, ...] = (
    VaeSlicing(),
    VaeTiling(),
    ConditioningCache(),
    ModelOffload(),
    VaeTiling(spill=True),
    LayerwiseCasting(),
    SequentialOffload(),
)
"""In the order of what they cost, the cheapest first."""


class OutOfMemoryError(DpnbError, torch.OutOfMemoryError):
    """A run needed more memory than there is; the pipeline is as it was before.

    Attributes:
        stage: what the run was at: see `Stage`.
        relief: the cheapest memory saver for that stage, ready to be switched on; `None` where
            every one is on already.
    """

    def __init__(self, stage: Stage, relief: Strategy | None, reason: str) -> None:
        remedy = (
            "Draw a smaller picture, or fewer at once."
            if relief is None
            else f"Switch on pipe.strategies.enable(dpnb.{relief!r}) and run again."
        )
        super().__init__(f"Memory ran out while {ACTIVITIES[stage]}. {remedy} ({reason})")
        self.stage = stage
        self.relief = relief
        self._reason = reason

    @override
    def __reduce__(self) -> tuple[type[OutOfMemoryError], tuple[Stage, Strategy | None, str]]:
        """What another process makes it of again."""
        return type(self), (self.stage, self.relief, self._reason)


ACTIVITIES = {
    Stage.TEXT: "the prompt was encoded",
    Stage.ENCODING: "the picture was encoded",
    Stage.DENOISING: "the picture was denoised",
    Stage.DECODING: "the picture was decoded",
}


FAILED_ALLOCATION = re.compile(
    r"out.of(.\w+)?.memory|ALLOC(ATION)?_FAILED|DefaultCPUAllocator|(can.?not|failed to) allocate"
    r"|cudaErrorMemoryAllocation|bad_alloc|not enough memory|insufficient memory",
    re.IGNORECASE,
)
"""How torch, CUDA, cuBLAS, cuDNN, MPS, XPU and the system say it in a plain error."""


ALLOCATION_ERRORS = (MemoryError, RuntimeError, OSError)
"""The classes of errors among which a failed allocation is; `is_out_of_memory` tells which is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation has failed, on the host or on a device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, DpnbError) or not isinstance(error, ALLOCATION_ERRORS):
        return False
    is_refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return is_refused or FAILED_ALLOCATION.search(str(error)) is not None


def explain_out_of_memory(
    steps: Generator[T, None, None],
    stage_after: Callable[[T], Stage | None],
    stack: StrategyStack,
    pictures: int,
) -> Generator[T, None, None]:
    """The steps of a run; where memory runs out, the error names the cheapest memory saver.

    What the run has allocated is free when the error arrives, even if that is kept.

    Args:
        steps: the run; it begins with the prompt.
        stage_after: the stage that a step is followed by; `None` for the last step.
        stack: what is on.
        pictures: how many are drawn at once.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    stage = Stage.TEXT
    try:
        with closing(steps):
            for step in steps:
                yield step
                stage = stage_after(step) or stage
    except ALLOCATION_ERRORS as error:
        if not is_out_of_memory(error):
            raise
        clear_frames(error.__traceback__)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise OutOfMemoryError(stage, _cheapest(stack, stage, pictures), reason) from error


def _cheapest(stack: StrategyStack, stage: Stage, pictures: int) -> Strategy | None:
    """The cheapest memory saver; `None` too where there is not the memory to find it."""
    try:
        return next(find_memory_savers(stack, stage, pictures), None)
    except ALLOCATION_ERRORS as error:
        if not is_out_of_memory(error):
            raise
        return None


def find_memory_savers(stack: StrategyStack, stage: Stage, pictures: int) -> Iterator[Strategy]:
    """The memory savers for a stage that are not on yet, the cheapest first.

    Args:
        stack: what is on.
        stage: see `Stage`.
        pictures: how many are drawn at once.
    """
    return (s for s in MEMORY_SAVERS if _would_save(s, stack, stage, pictures))


def _would_save(strategy: Strategy, stack: StrategyStack, stage: Stage, pictures: int) -> bool:
    if stage not in strategy.relieves or stack.obstacle(strategy) is not None:
        return False
    if isinstance(strategy, VaeSlicing) and pictures == 1:
        return False
    if isinstance(strategy, ConditioningCache) and stack.execution_device.type == "cpu":
        return False
    return all(_cost(strategy) > _cost(s) for s in stack.active if s.slot == strategy.slot)


def _cost(strategy: Strategy) -> int:
    """The place among all memory savers; for other settings, the last place of the same class."""
    if strategy in MEMORY_SAVERS:
        return MEMORY_SAVERS.index(strategy)
    places = [i for i, saver in enumerate(MEMORY_SAVERS) if type(saver) is type(strategy)]
    return max(places, default=-1)
