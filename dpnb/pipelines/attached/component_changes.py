"""Changes of a pipeline's components, made while nothing is switched on at them."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, Protocol
from weakref import ref

from dpnb.errors import StrategyError
from dpnb.strategies.networks import Owner
from dpnb.strategies.stack import StrategyStack


class Changed(Owner, Protocol):
    """A pipeline whose components change."""

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on."""
        ...

    def note_parts(self) -> None:
        """Components are about to change."""
        ...


class ComponentChanges:
    """Makes them one at a time; a change that takes place within another is part of it.

    Args:
        owner: the pipeline; held weakly, for it has this.
    """

    def __init__(self, owner: Changed) -> None:
        self._owner = ref(owner)
        self._thread: int | None = None

    def make(self, effect: str, change: Callable[[], Any]) -> Any:
        """What `change` returns, made while nothing is on; all comes on again after it.

        Args:
            effect: what is so once it has returned, as a clause.
            change: may replace components, or change them.

        Raises:
            StrategyError: what was on cannot serve any more; nothing is on then.
        """
        owner = self._owner()
        if owner is None or self._thread == get_ident():
            return change()
        owner.note_parts()
        is_done = False
        try:
            with owner.strategies.change_components(owner):
                self._thread = get_ident()
                try:
                    returned = change()
                finally:
                    self._thread = None
                is_done = True
        except StrategyError as error:
            if not is_done:
                raise
            raise StrategyError(
                f"Nothing is switched on any more, and {effect}: {error}"
            ) from error
        return returned
