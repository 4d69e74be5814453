"""What to switch on when memory has run out."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

import torch

from dpnb.errors import DpnbError
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.vae import VaeSlicing, VaeTiling

RELIEF: tuple[Strategy, ...] = (
    VaeSlicing(),
    VaeTiling(),
    ConditioningCache(),
    ModelOffload(),
    VaeTiling(spill=True),
    LayerwiseCasting(),
    SequentialOffload(),
)
"""What lowers memory, in the order of what it costs."""


class OutOfMemoryError(DpnbError, torch.OutOfMemoryError):
    """A run needed more memory than there is; the pipeline is as it was before.

    Attributes:
        stage: what the run was at: "text", "encoding", "denoising" or "decoding".
        relief: what would have helped and costs least, ready to be switched on; `None` where
            everything is on already.
    """

    def __init__(self, stage: str, relief: Strategy | None, reason: str) -> None:
        remedy = (
            "Draw a smaller picture, or fewer at once."
            if relief is None
            else f"Switch on pipe.strategies.enable(dpnb.{relief!r}) and run again."
        )
        super().__init__(f"Memory ran out while {DOING[stage]}. {remedy} ({reason})")
        self.stage = stage
        self.relief = relief


DOING = {
    "text": "the prompt was encoded",
    "encoding": "the picture was encoded",
    "denoising": "the picture was denoised",
    "decoding": "the picture was decoded",
}


ALLOCATION = re.compile(
    r"out.of(.\w+)?.memory|ALLOC(ATION)?_FAILED|DefaultCPUAllocator|(can.?not|failed to) allocate"
    r"|cudaErrorMemoryAllocation|bad_alloc|not enough memory|insufficient memory",
    re.IGNORECASE,
)
"""How torch, CUDA, cuBLAS, cuDNN, MPS, XPU and the system say it in a plain error."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation has failed, on the host or on a device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, DpnbError) or not isinstance(error, (RuntimeError, OSError)):
        return False
    is_refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return is_refused or ALLOCATION.search(str(error)) is not None


def relief(stack: StrategyStack, stage: str, pictures: int) -> Strategy | None:
    """The strategy that lowers the memory of a stage at the least cost and is not on yet."""
    return next(remedies(stack, stage, pictures), None)


def remedies(stack: StrategyStack, stage: str, pictures: int) -> Iterator[Strategy]:
    """The strategies that lower the memory of a stage and are not on yet, the cheapest first.

    Args:
        stack: what is on.
        stage: "text", "encoding", "denoising" or "decoding".
        pictures: how many are drawn at once.
    """
    return (s for s in RELIEF if _helps(s, stack, stage, pictures))


def _helps(strategy: Strategy, stack: StrategyStack, stage: str, pictures: int) -> bool:
    if stage not in strategy.relieves or stack.obstacle(strategy) is not None:
        return False
    if isinstance(strategy, VaeSlicing) and pictures == 1:
        return False
    if isinstance(strategy, ConditioningCache) and stack.execution_device.type == "cpu":
        return False
    return all(_cost(strategy) > _cost(s) for s in stack.active if s.slot == strategy.slot)


def _cost(strategy: Strategy) -> int:
    """The place among what lowers memory; of others in the same slot, the last that is alike."""
    alike = [place for place, known in enumerate(RELIEF) if type(known) is type(strategy)]
    return RELIEF.index(strategy) if strategy in RELIEF else max(alike, default=-1)
