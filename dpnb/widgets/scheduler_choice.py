"""The schedulers that can take over from a pipeline's own, whoever has written it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dpnb.pipelines.settings.plain_values import Pairs
from dpnb.pipelines.settings.scheduler_settings import (
    describe_scheduler,
    list_successors,
    restore_scheduler,
)


def find_successors(scheduler: Any) -> Mapping[str, Callable[[], Any]]:
    """The schedulers that can take over, by the names of their classes; each makes one anew.

    Args:
        scheduler: the present one, whose settings they take over; `None` where there is none. One
            of diffusers names its like itself.
    """
    kinds = list_successors(scheduler)
    return {name: partial(kind.from_config, scheduler.config) for name, kind in kinds.items()}


def choose_scheduler(scheduler: Any, name: str | None, settings: Pairs | None = None) -> Any:
    """The scheduler that is meant: `scheduler`, or one that takes over from it.

    Args:
        scheduler: the present one.
        name: of a class; `None` for the present one.
        settings: all that is to be set and not the class's own default; by default that of the
            present one.

    Raises:
        ValueError: it cannot take over.
    """
    if name is not None and settings is not None:
        if describe_scheduler(scheduler) == (name, dict(settings)):
            return scheduler
        return restore_scheduler(name, dict(settings), scheduler, is_whole=True)
    if name is None or name == type(scheduler).__name__:
        return scheduler
    known = find_successors(scheduler)
    if name not in known:
        raise ValueError(
            f"{name!r} is no scheduler that can take over; there "
            f"{'are ' + ', '.join(known) if known else 'is no other for this model'}."
        )
    return known[name]()


def short_scheduler_name(name: str) -> str:
    """The name of a scheduler's class without what all of them end in."""
    words = re.sub(r"(Discrete|Multistep)?Scheduler$", "", name)
    return words.replace("EulerAncestral", "Euler ancestral")
