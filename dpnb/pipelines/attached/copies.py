"""Copies of attached pipelines, and of what they are attached by."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

from typing_extensions import Self, override

from dpnb.errors import StrategyError
from dpnb.pipelines.attached.hearing import forget_hearing_of_copies
from dpnb.pipelines.attached.parts import find_parts
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Plan

logger = logging.getLogger(__name__)


class Copies:
    """An instrument that is copied with its pipeline: a copy is attached to a copy of that.

    A deep copy and a pickled one have weights of their own, and the same switches on.
    """

    pipe: Any
    _strategies: StrategyStack
    _heard: Any
    _is_detached: bool

    def __copy__(self) -> Self:
        made: Self = _attach(type(self), copy.copy(self.pipe), self._is_detached)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made: Self = _attach(type(self), copy.deepcopy(self.pipe, memo), self._is_detached)
        memo[id(self)] = made
        made._strategies.use(self._strategies.active)
        return made

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (type(self), self.pipe, self._is_detached), self._strategies.active

    def __setstate__(self, plan: Plan) -> None:
        try:
            self._strategies.use(plan)
        except StrategyError as refusal:
            logger.warning("What was on when this was pickled stays off here. %s", refusal)

    def copy_in_use(self, pipe: Any) -> Any:
        """The pipeline itself; a deep copy of it while anything is on, or it is in a run."""
        is_in_use = self._strategies.active or self._heard is not None
        return copy.deepcopy(pipe) if is_in_use else pipe

    def forget_copies(self, copied: Any) -> None:
        """Take away from a copy of the pipeline what tells of the present run."""
        forget_hearing_of_copies(find_parts(copied))


def _attach(kind: Callable[[Any], Any], pipe: Any, is_detached: bool) -> Any:
    made = kind(pipe)
    if is_detached:
        made.detach()
    return made
