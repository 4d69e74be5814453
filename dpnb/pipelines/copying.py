"""Copies of a pipeline, in this process or for another: independent, with the same switches on."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any

from torch import nn
from typing_extensions import Self

from dpnb.errors import StrategyError
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Plan

logger = logging.getLogger(__name__)

_PLAN = "_plan"

_CAPTURING = "_output_capturing_hooks_installed"
"""Set by transformers at a model into which it has put hooks that no pickle holds, when it was
first asked for hidden states; a model without this gets them anew."""


class Copying:
    """What makes a pipeline copyable; a deep copy and a pickled one have weights of their own."""

    _strategies: StrategyStack

    def __copy__(self) -> Self:
        """Another pipeline over the same components, which shares what is switched on."""
        copied = type(self).__new__(type(self))
        with self._strategies.suspended():
            own = self._own()
        _fill(copied, own)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Another pipeline over copies of the components, with the same switches on."""
        copied = memo[id(self)] = type(self).__new__(type(self))
        with self._strategies.suspended() as plan:
            _fill(copied, deepcopy(self._own(), memo))
        copied._strategies.use(plan)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: plain weights, and what is to be switched on."""
        with self._strategies.suspended() as plan:
            own = self._own()
            networks = [part for part in own.values() if isinstance(part, nn.Module)]
            # What is switched on comes back before pickle has come to the weights.
            if plan or any(_captures(network) for network in networks):
                own = deepcopy(own)
        for part in own.values():
            if isinstance(part, nn.Module) and _captures(part):
                _forget_capturing(part)
        return {**own, _PLAN: plan}

    def __setstate__(self, state: dict[str, Any]) -> None:
        plan: Plan = state.pop(_PLAN)
        _fill(self, state)
        try:
            self._strategies.use(plan)
        except StrategyError as refusal:
            logger.warning(
                "What was on when this %s was pickled stays off here. %s",
                type(self).__name__,
                refusal,
            )

    def _own(self) -> dict[str, Any]:
        """Everything but what is switched on and who listens."""
        return {k: v for k, v in vars(self).items() if k not in ("_strategies", "_listeners")}


def _fill(pipe: Any, own: dict[str, Any]) -> None:
    vars(pipe).update(own, _listeners=[])
    vars(pipe)["_strategies"] = StrategyStack(pipe)


def _captures(network: nn.Module) -> bool:
    return any(_CAPTURING in vars(module) for module in network.modules())


def _forget_capturing(network: nn.Module) -> None:
    """Take transformers' hooks out of a network."""
    for module in network.modules():
        vars(module).pop(_CAPTURING, None)
        for number, hook in list(module._forward_hooks.items()):
            if hook.__module__ == "transformers.utils.output_capturing":
                del module._forward_hooks[number]
