"""The strategies, settings and plans that a planner tries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import TypeAlias

from dpnb.planning.device_profile import DeviceProfile
from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.strategy import Plan, Slot, Strategy, in_order
from dpnb.strategies.vae import VaeTiling

Offload: TypeAlias = ModelOffload | SequentialOffload

VARIANTS: Mapping[type[Strategy], tuple[Strategy, ...]] = {
    AttentionSlicing: (AttentionSlicing(), AttentionSlicing("max")),
    VaeTiling: (VaeTiling(), VaeTiling(spill=True), VaeTiling(blended=True)),
}
"""Of strategies whose defaults alone will not do."""


def list_candidates() -> Iterator[Strategy]:
    """Every strategy that is no placement, with all settings that are worth trying."""
    for kind in CATALOG:
        if kind.slot is not Slot.PLACEMENT:
            yield from VARIANTS.get(kind, (kind(),))


def iterate_plans(strategies: list[Strategy], fits: Callable[[Plan], bool]) -> Iterator[Plan]:
    """Every set of `strategies` in which none contradicts another, the smaller ones first.

    Args:
        strategies: to choose from.
        fits: whether a set can be switched on.
    """
    slots: dict[Slot, list[Strategy | None]] = {}
    for strategy in in_order(strategies):
        slots.setdefault(strategy.slot, [None]).append(strategy)
    plans = {frozenset(s for s in choice if s is not None) for choice in product(*slots.values())}
    for plan in sorted(plans, key=lambda plan: (len(plan), repr(in_order(plan)))):
        if fits(plan):
            yield plan


def list_offloads(profile: DeviceProfile) -> tuple[Offload, ...]:
    """Both kinds of offloading to a device; none where there is no host beside it."""
    if profile.link is None:
        return ()
    device = None if profile.torch_device in (None, "cuda") else profile.torch_device
    return ModelOffload(device), SequentialOffload(device=device)


def to_simulated_device(strategy: Strategy) -> Strategy:
    """The same placement, to the simulated device that exists everywhere."""
    return replace(strategy, device="simulated") if isinstance(strategy, Offload) else strategy
