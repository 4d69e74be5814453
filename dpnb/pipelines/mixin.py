"""What the mixins of a pipeline ask of the pipeline that they are mixed into."""

from __future__ import annotations

from typing import Any

from dpnb.strategies.stack import StrategyStack


class PipelineMixin:
    """Methods for a class that has components and strategies."""

    @property
    def components(self) -> dict[str, Any]:
        """The components by name."""
        raise NotImplementedError

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on."""
        raise NotImplementedError
