"""Code that is there at once: what a compiler is told, computed by torch as it stands."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.strategies.compile_order import Nesting, Order
from dpnb.strategies.compile_queue import CompiledCode, CompileQueue
from dpnb.strategies.compile_worker import OrderCall


class EagerQueue(CompileQueue):
    """Gives code that computes what was ordered, and knows no more of it than another process.

    Attributes:
        codes: all that were asked for, by who has asked.
        calls: of any code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[tuple[Any, CompiledCode]] = []
        self.calls = 0

    @property
    def orders(self) -> list[Order]:
        """What was asked for."""
        return [code.order for _, code in self.codes]

    @override
    def ask(self, order: Order, asker: object) -> CompiledCode:
        code = CompiledCode(order)
        nestings: list[Nesting] = []
        call = OrderCall(order, nestings)

        def run(given: list[Tensor]) -> list[Tensor]:
            self.calls += 1
            count = len(order.weights)
            with torch.no_grad():
                outputs: list[Tensor] = call(given[:count], given[count:])
            code.nesting = nestings.pop()
            return outputs

        code.run = run
        code.wanted_by.add(asker)
        self.codes.append((asker, code))
        return code


class ForgetfulQueue(EagerQueue):
    """The same, which keeps nothing of whoever asks."""

    @override
    def ask(self, order: Order, asker: object) -> CompiledCode:
        code = super().ask(order, asker)
        self.codes.clear()
        return code
