"""The process that compiles: an order in, a file out.

Torch's compiler computes for long in Python, and would hold up every thread of the process that
draws; and it is not made to compile in one thread what another computes.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.atomic import OUT_OF_SPACE
from dpnb.strategies.compile_order import Nesting, Order, TensorKind, flatten, unflatten

POLITENESS = 10
"""By so much it steps back behind whoever draws."""


@dataclass(frozen=True)
class Job:
    """What the process is asked.

    Attributes:
        order: what to compile.
        path: where to.
    """

    order: Order
    path: str


@dataclass(frozen=True)
class Answer:
    """What became of it.

    Attributes:
        nesting: of what is computed.
        failure: why there is nothing.
        may_try_again: whether that may be otherwise another time.
    """

    nesting: Nesting = None
    failure: str | None = None
    may_try_again: bool = False


class OrderCall(nn.Module):
    """A call of a module: its weights and its inputs → the tensors that it gives.

    Args:
        order: the module, and how it is called.
        nestings: takes that of what it gives; what is set of a module is set back when it is
            exported.
    """

    def __init__(self, order: Order, nestings: list[Nesting]) -> None:
        super().__init__()
        # A module that is no part of this one, so that its weights are not taken for constants.
        self._inner = (pickle.loads(order.module),)
        self._order, self._nestings = order, nestings

    @override
    def forward(self, weights: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
        args, kwargs = unflatten(self._order.nesting, iter(inputs))
        given = dict(zip(self._order.names, weights, strict=True))
        result = torch.func.functional_call(self._inner[0], given, args, kwargs)
        outputs: list[Tensor] = []
        self._nestings.append(flatten(result, outputs))
        return outputs


def compile_order(order: Order, path: str) -> Nesting:
    """Compile.

    Args:
        order: what.
        path: of the file that is written.

    Returns:
        How what is computed is nested.
    """
    import torch._inductor
    from torch._subclasses.fake_tensor import FakeTensorMode

    order.settings.use()
    nestings: list[Nesting] = []
    call = OrderCall(order, nestings)
    with torch.no_grad(), FakeTensorMode():
        inputs = _make_all(order.weights), _make_all(order.inputs)
        exported = torch.export.export(call, inputs, strict=False)
    options = dict(order.options)
    torch._inductor.aoti_compile_and_package(exported, package_path=path, inductor_configs=options)
    return nestings[-1]


def _make_all(kinds: Iterable[TensorKind]) -> list[Tensor]:
    return [kind.make() for kind in kinds]


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Compile one order after the other, until there are no more."""
    while True:
        try:
            job: Job = pickle.load(asked)
        except EOFError:
            return
        pickle.dump(_answer(job), answers)
        answers.flush()


def _answer(job: Job) -> Answer:
    try:
        return Answer(compile_order(job.order, job.path))
    except Exception as error:  # the compiler fails in whatever way
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Answer(failure=lines[0][:200], may_try_again=_is_passing(error))


def _is_passing(error: BaseException | None) -> bool:
    """Whether an error is of a lack of memory or of room on a disk, which may be over one day."""
    while error is not None:
        lacks = isinstance(error, MemoryError) or "No space left" in str(error)
        if lacks or (isinstance(error, OSError) and error.errno in OUT_OF_SPACE):
            return True
        error = error.__cause__ or error.__context__
    return False


def main() -> None:
    """Serve whoever has started this process."""
    answers: Any = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what others print is no answer
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever draws is interrupted, and goes on
    if sys.platform != "win32":
        os.nice(POLITENESS)
    serve(sys.stdin.buffer, answers)
