"""The plans that are measured at full size, in the order of what they tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dpnb.planning.candidates import list_candidates
from dpnb.planning.plan_names import plan_name
from dpnb.strategies.attention_kernel import AttentionKernel
from dpnb.strategies.compilation import Compile
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.lora import LoRA
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.plans import plan_from_json
from dpnb.strategies.presets import PRESETS
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.strategy import Plan, Strategy
from dpnb.strategies.vae import VaeTiling
from tests.gpu.setting import Setting

PLACEMENTS: tuple[Strategy, ...] = (
    ModelOffload(),
    SequentialOffload(),
    SequentialOffload("1GiB"),
)

KERNELS = tuple(AttentionKernel(name) for name in ("flash", "efficient", "cudnn", "math"))

COMBINED: tuple[Plan, ...] = (
    frozenset({SequentialOffload(), VaeTiling(spill=True), ConditioningCache()}),
    frozenset({ModelOffload(), VaeTiling()}),
    frozenset({ConditioningCache(), StepCache()}),
)

ELSEWHERE = (Compile, LoRA)
"""The one has a part of its own, and the other needs weights, which are loaded last."""

DRY: tuple[frozenset[Strategy], ...] = (
    frozenset(),
    frozenset({PLACEMENTS[1]}),
    frozenset({ConditioningCache()}),
    frozenset({VaeTiling()}),
)


def plan_key(plan: Plan) -> str:
    """The name of a plan, whatever device it streams to."""
    return plan_name(frozenset(without_device(strategy) for strategy in plan))


def without_device(strategy: Strategy) -> Strategy:
    """The same strategy for the accelerator of the machine."""
    return on_device(strategy, None)


def on_device(strategy: Strategy, device: str | None) -> Strategy:
    """The same strategy to a device, if it streams."""
    if isinstance(strategy, (ModelOffload, SequentialOffload)):
        return replace(strategy, device=device)
    return strategy


def plans_for(setting: Setting) -> Mapping[str, Plan]:
    """The plans by their names; few in a dry run."""
    few = [plan_key(frozenset(plan)) for plan in DRY]
    return {name: ALL_PLANS[name] for name in (few if setting.is_dry else ALL_PLANS)}


def _list_plans() -> Mapping[str, Plan]:
    """Nothing, each strategy alone, and what is told apart by being together."""
    alone = [s for s in list_candidates() if not isinstance(s, ELSEWHERE)]
    presets = [plan_from_json(preset.entries) for preset in PRESETS]
    plans = [
        frozenset[Strategy](),
        *(frozenset({strategy}) for strategy in PLACEMENTS),
        *presets,
        *COMBINED,
        *(frozenset({strategy}) for strategy in (*alone, *KERNELS)),
    ]
    return {plan_key(plan): plan for plan in plans}


ALL_PLANS = _list_plans()
"""By their names."""
