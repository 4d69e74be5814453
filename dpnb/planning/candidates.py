"""The strategies, settings and plans that a planner tries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import TypeAlias

from dpnb.planning.device_profile import DeviceProfile
from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.attention_kernel import AttentionKernel
from dpnb.strategies.catalog import CATALOG, catalog_for
from dpnb.strategies.component_switches import ComponentFusion, ComponentSlicing, ComponentTiling
from dpnb.strategies.networks import Networks
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.precision import Precision
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.quantization import Quantization
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Effect, Plan, Slot, Strategy, in_order
from dpnb.strategies.vae import VaeSlicing, VaeTiling

Offload: TypeAlias = ModelOffload | SequentialOffload

VARIANTS: Mapping[type[Strategy], tuple[Strategy, ...]] = {
    AttentionKernel: (),  # torch chooses one by itself, and no better one is known beforehand
    AttentionSlicing: (AttentionSlicing(), AttentionSlicing("max")),
    VaeTiling: (VaeTiling(), VaeTiling(spill=True), VaeTiling(blended=True)),
}
"""Of strategies whose defaults alone will not do."""


BETTER: Mapping[type[Strategy], type[Strategy]] = {
    ComponentFusion: QKVFusion,
    ComponentTiling: VaeTiling,
    ComponentSlicing: VaeSlicing,
}
"""What a component can do by itself → what does it better, with dpnb's own network in its place."""


ALTERNATIVES: frozenset[type[Strategy]] = frozenset({LayerwiseCasting, Precision, Quantization})
"""Ways of storing weights in fewer bits; no plan that is tried has two of them, which would make
several times as many.
"""


MOST_INEXACT = 2
"""Strategies that change the picture, in a plan that is tried; more would make hundreds."""


def list_candidates(networks: Networks | None = None) -> Iterator[Strategy]:
    """Every strategy that is no placement, with all settings that are worth trying.

    What foreign components can do by themselves comes last.

    Args:
        networks: on which they would act; by default some of dpnb's.
    """
    for kind in CATALOG if networks is None else catalog_for(networks):
        if kind.slot is not Slot.PLACEMENT:
            yield from VARIANTS.get(kind, (kind(),))


def iterate_plans(strategies: list[Strategy], fits: Callable[[Plan], bool]) -> Iterator[Plan]:
    """Every set of `strategies` in which none contradicts another, the smaller ones first.

    Sets with two `ALTERNATIVES`, or with more than `MOST_INEXACT`, are left out.

    Args:
        strategies: to choose from.
        fits: whether a set can be switched on.
    """
    slots: dict[Slot, list[Strategy | None]] = {}
    for strategy in in_order(strategies):
        slots.setdefault(strategy.slot, [None]).append(strategy)
    plans = {frozenset(s for s in choice if s is not None) for choice in product(*slots.values())}
    for plan in sorted(plans, key=lambda plan: (len(plan), repr(in_order(plan)))):
        alternatives = sum(type(one) in ALTERNATIVES for one in plan)
        inexact = sum(one.effect is not Effect.EXACT for one in plan)
        if alternatives < 2 and inexact <= MOST_INEXACT and fits(plan):
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
