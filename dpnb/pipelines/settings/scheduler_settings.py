"""What a scheduler of whatever class is set to, and schedulers built from that."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.settings.plain_values import split_plain
from dpnb.pipelines.settings.samplers import SPACING, name_sampler
from dpnb.schedulers.catalog import load_public_name
from dpnb.schedulers.scheduler import Scheduler

METHODS = frozenset({"step", "set_timesteps", "from_config"})
"""What a class lacks that stands for a scheduler which cannot be imported."""


def list_successors(scheduler: Any) -> Mapping[str, Any]:
    """The classes of schedulers that can take over, by name.

    Args:
        scheduler: the present one; `None` where there is none. One of diffusers names its like
            itself.
    """
    known = dir(scheduler)
    if "interchangeable" in known:
        kinds = [load_public_name(name) for name in scheduler.interchangeable]
    elif "compatibles" in known and "config" in known:
        kinds = [kind for kind in scheduler.compatibles if set(dir(kind)) >= METHODS]
    else:
        return {}
    return {kind.__name__: kind for kind in kinds}


def describe_scheduler(scheduler: Any) -> tuple[str | None, dict[str, Any]]:
    """A scheduler's class, and those of its settings that are not the class's own defaults.

    Args:
        scheduler: any one; `None` where there is none.

    Returns:
        The name of the class, `None` without a scheduler, and plain values.
    """
    if scheduler is None:
        return None, {}
    name = type(scheduler).__name__
    if isinstance(scheduler, Scheduler):
        config, own = scheduler.config, {item.name: item for item in fields(scheduler.config)}
        defaults = {key: own[key].default for key in config.names()}
    else:
        config = scheduler.config if "config" in dir(scheduler) else {}
        parameters = inspect.signature(type(scheduler).__init__).parameters.values()
        defaults = {one.name: one.default for one in parameters if one.name in config}
    changed = {key: config[key] for key, value in defaults.items() if _differ(config[key], value)}
    return name, split_plain(changed)[0]


def restore_scheduler(
    name: str | None, settings: Mapping[str, Any], present: Any, *, is_whole: bool
) -> Any:
    """The scheduler of this class with these settings.

    Args:
        name: of the class; `None` for the present scheduler as it is.
        settings: plain values.
        present: the pipeline's scheduler.
        is_whole: whether these are all that differ from the class's own defaults; else the others
            are those of the present scheduler, without its spacing of noise levels.

    Raises:
        ValueError: it cannot take over from the present one.
    """
    if name is None or present is None:
        return present
    kinds = {type(present).__name__: type(present), **list_successors(present)}
    if name not in kinds and _name(name, settings) == _name(*describe_scheduler(present)):
        name = type(present).__name__
    if name not in kinds:
        raise ValueError(
            f"{name} cannot take over from {type(present).__name__}; there "
            f"{'are ' + ', '.join(kinds) if len(kinds) > 1 else 'is no other for this model'}."
        )
    if is_whole:
        return kinds[name].from_config(dict(settings))
    off = {key: False for key in SPACING if dict(present.config).get(key)}
    return kinds[name].from_config(present.config, **{**off, **settings})


@contextmanager
def exchange_scheduler(pipe: ExplorablePipeline, scheduler: Any) -> Iterator[None]:
    """Another scheduler within, and the former one after.

    Args:
        pipe: whose scheduler it is.
        scheduler: the other one; the present one leaves everything as it is.
    """
    before = pipe.scheduler
    try:
        if scheduler is not before:
            pipe.scheduler = scheduler
        yield
    finally:
        if pipe.scheduler is not before:
            pipe.scheduler = before


def _name(scheduler: str | None, settings: Mapping[str, Any]) -> str:
    return "" if scheduler is None else name_sampler(scheduler, settings)[0]


def _differ(value: Any, default: Any) -> bool:
    one, other = split_plain({"": value}), split_plain({"": default})
    return one != other
