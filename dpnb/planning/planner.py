"""Which plans fit a budget, and what they will cost: before a weight is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from dpnb.errors import StrategyError
from dpnb.fidelity.visibility import allows_changes
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.placement import describe_quantization
from dpnb.planning.candidates import (
    BETTER,
    Offload,
    iterate_plans,
    list_candidates,
    list_offloads,
    to_simulated_device,
)
from dpnb.planning.card_memory import CardMemory
from dpnb.planning.card_replay import replay_resident
from dpnb.planning.device_choice import check_dtypes, parse_budget
from dpnb.planning.device_choice import profile_for as profile_for
from dpnb.planning.device_choice import resolve_budget as resolve_budget
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.gains import gains
from dpnb.planning.loaded_pipelines import name_of, parts_of
from dpnb.planning.picture_costs import ComparedPlans, read_picture_costs
from dpnb.planning.plan_names import plan_name
from dpnb.planning.run_failures import describe_failure
from dpnb.planning.simulated_runs import SimulatedRun, SimulatedRuns
from dpnb.planning.simulation import Simulation
from dpnb.planning.step_prediction import (
    OffloadReplay,
    StepPrediction,
    find_bound,
    find_typical,
    predict_resident,
)
from dpnb.planning.table import PlanRow, PlanTable
from dpnb.planning.timeline import StepTimeline
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.weight_sizes import describe_dtypes, list_dtypes
from dpnb.planning.workload import Workload
from dpnb.planning.workload_arguments import check_workload, with_card
from dpnb.planning.workload_card import find_card_numbers
from dpnb.stages import Stage
from dpnb.strategies.attention_kernel import AttentionKernel
from dpnb.strategies.catalog import COMPONENT_SWITCHES
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.exchange import exchanges_for
from dpnb.strategies.offload.budget import compute_memory_range
from dpnb.strategies.placement import SequentialOffload
from dpnb.strategies.plans import parse_plans
from dpnb.strategies.strategy import Effect, Plan, Strategy
from dpnb.units import parse_bytes, round_down

TORCH_CHOOSES = "Torch chooses a kernel by itself; which one is faster here only a run can tell."
SEVERAL_DEVICES = "It puts components on several devices; a plan is for one."

CACHED = 8
"""One part in so many of a card's allocator is unused, with blocks that come and go."""

REASONS = {
    Effect.APPROXIMATE: "It may change the picture; ask for such plans with approximate.",
    Effect.STYLISTIC: "It draws another picture on purpose: choose it for its look.",
}
"""Why a strategy with such an effect is in no plan."""

NO_GAIN = "Alone, this saves neither memory nor time here."
UNSURE_GAIN = "What this saves depends on the picture; give plans with it to see what it needs."


def plan(
    model: Any,
    budget: int | str | None = None,
    *,
    height: int | None = None,
    width: int | None = None,
    batch: int = 1,
    steps: int | None = None,
    guidance_scale: float | None = None,
    frames: int | None = None,
    dtype: torch.dtype | str | None = None,
    device: str | torch.device | DeviceProfile | None = None,
    approximate: bool = False,
    workload: Workload | None = None,
    plans: Literal["all"] | PlanTable | Iterable[Strategy | Iterable[Strategy]] = "all",
    arguments: Mapping[str, Any] | None = None,
    max_difference: float | str | None = None,
    measured: ComparedPlans | None = None,
    **options: Any,
) -> PlanTable:
    """Predict memory and time of plans, without weights and without the device.

    Args:
        model: a loaded pipeline, also of diffusers; a folder or a hub repository, of which only
            settings and headers are read; or one of `"sd15"`, `"sd21"`, `"sdxl"`, `"flux-dev"` …
        budget: bytes or `"8GiB"`: of a card, context included; on the CPU, of tensors alone.
        height: of the pictures, in pixels; the model's own by default.
        width: likewise.
        batch: pictures at once.
        steps: of denoising; as guidance, size and frames, by default a model card's or family's.
        guidance_scale: up to 1 the network sees every latent once instead of twice.
        frames: of a video.
        dtype: of weights; a pipeline's own, or float16 on a GPU; `"auto"` for a checkpoint's.
        device: a card such as `"RTX 3060"`, a slice such as `"H100 PCIe 1g.10gb"`, a profile,
            `"cuda"`, `"cpu"`, or a link such as `"simulated:8GiB/s"`; by default the one at hand.
        approximate: whether plans may change the picture.
        workload: what is drawn, in place of `height` to `frames`, and without a model card.
        plans: `"all"` that are worth trying, or these: strategies, or sets of them.
        arguments: further ones of the pipeline's call, by name.
        max_difference: what plans may do to the picture: 0 to 1, or `"not visible side by side"`.
        measured: a sweep with quality, from which that is predicted; else exact plans are tried.
        options: which files of a checkpoint are meant, as for `from_pretrained`.

    Raises:
        ValueError: the budget, card, dtype or what is drawn is not possible; the message says why.
        StrategyError: a plan contradicts itself.
        CheckpointError: a checkpoint's headers are not what its settings say.
        HubError: the repository cannot be reached.
    """
    costs = None if measured is None else read_picture_costs(model_title(model), measured)
    approximate |= allows_changes(max_difference) and costs is not None
    profile, mode = profile_for(device, model), ValuelessTensors()
    limit, chosen = parse_budget(budget, profile), parse_plans(plans)
    pipe = build_valueless_pipeline(model, mode, dtype or _usual_dtype(model, profile), **options)
    asked = Workload(height=height, width=width, batch=batch, steps=steps, frames=frames)
    asked = replace(asked, guidance_scale=guidance_scale)
    check_workload(pipe, asked if workload is None else workload)
    workload = workload or _with_numbers(asked, model, pipe, options, arguments)
    planner = Planner(Simulation(pipe, mode, workload, profile, arguments), limit, approximate)
    return planner.plan(model_title(model), chosen).limited(max_difference, costs)


def _usual_dtype(model: Any, profile: DeviceProfile) -> torch.dtype | None:
    """Of a checkpoint's weights; `None` keeps those of a loaded pipeline."""
    if not isinstance(model, (str, Path)):
        return None
    return torch.float16 if profile.is_asynchronous else torch.float32


def _with_numbers(
    asked: Workload,
    model: Any,
    pipe: ExplorablePipeline,
    options: Mapping[str, Any],
    arguments: Mapping[str, Any] | None,
) -> Workload:
    """What is asked for, with the numbers of the model card where none are given."""
    numbers = find_card_numbers(model, pipe, options)
    return with_card(pipe.call_signature, asked, numbers, arguments or ())


def model_title(model: Any) -> str:
    """What to call a model in titles."""
    if isinstance(model, (str, Path)):
        return str(model)
    name, parts = name_of(model), parts_of(model)
    stored = describe_quantization(parts)
    return f"{name} ({stored})" if stored else name


@dataclass
class Planner:
    """Finds the plans of one workload on one device.

    Attributes:
        simulation: runs the valueless pipeline.
        limit: bytes of the device; `None` for what it has and nobody else holds.
        approximate: whether plans may change the picture.
        left_out: strategies that are in no plan, and why.
    """

    simulation: Simulation
    limit: int | None
    approximate: bool

    def __post_init__(self) -> None:
        profile = self.simulation.profile
        self.simulation.use(())
        dtypes = list_dtypes(self.simulation.pipe.parts().values())
        check_dtypes(dtypes, profile)
        self.dtype = describe_dtypes(dtypes)
        self.budget = resolve_budget(self.limit, profile)
        self.left_out: dict[str, str] = {}
        self._offloads: list[Offload] = []
        for placement in list_offloads(profile):
            obstacle = self.simulation.obstacle(to_simulated_device(placement))
            if obstacle is None:
                self._offloads.append(placement)
            else:
                self.left_out[plan_name(frozenset({placement}))] = obstacle

    def plan(self, model: str, plans: Iterable[Plan] | None = None) -> PlanTable:
        """The table of all plans that are worth trying, or of these.

        Args:
            model: what to call it.
            plans: which; all by default.
        """
        return self.table(model, self.rows() if plans is None else self.rows_of(plans))

    def table(self, model: str, rows: Iterable[PlanRow]) -> PlanTable:
        """Rows of this planner in order."""
        return PlanTable(
            model=model,
            workload=self.simulation.workload,
            device=self.simulation.profile,
            budget=self.budget,
            rows=tuple(rows),
            approximate=self.approximate,
            left_out=self.left_out,
            dtype=self.dtype,
        ).within(self.budget)

    def rows(self) -> Iterator[PlanRow]:
        """Every plan with its prediction."""
        runs = SimulatedRuns(self.simulation)
        for chosen in iterate_plans(self._list_useful(runs), self._can_use):
            run = self._simulate(chosen, runs)
            if run is None:
                continue
            yield self._predict_resident(chosen, run)
            for placement in self._placements(run):
                yield self._predict_offloaded(chosen, placement, run)

    def rows_of(self, plans: Iterable[Plan]) -> Iterator[PlanRow]:
        """These plans with their predictions; `left_out` says why some have none."""
        runs = SimulatedRuns(self.simulation)
        for plan in dict.fromkeys(plans):
            placements = [s for s in plan if isinstance(s, Offload)]
            chosen = plan - frozenset(placements)
            obstacle = self._obstacle(plan)
            if obstacle is not None:
                self.left_out[plan_name(plan)] = obstacle
                continue
            run = self._simulate(chosen, runs)
            if run is None:
                continue
            if placements:
                yield self._predict_offloaded(chosen, placements[0], run)
            else:
                yield self._predict_resident(chosen, run)

    def _predict_resident(self, plan: Plan, run: SimulatedRun) -> PlanRow:
        profile = self.simulation.profile
        predictions = predict_resident(run.steps, run.weights, profile)
        memory = replay_resident(run.steps, run.weights, profile)
        return self._row(plan, run, predictions, memory)

    def _predict_offloaded(self, plan: Plan, placement: Offload, run: SimulatedRun) -> PlanRow:
        limit = placement.compute_limit(list(run.weights.networks))
        replay = OffloadReplay(run.weights, limit, self.simulation.profile)
        predictions = replay.run(run.steps)
        return self._row(plan | {placement}, run, predictions, replay.memory)

    def _obstacle(self, plan: Plan) -> str | None:
        if any(isinstance(strategy, DeviceMap) for strategy in plan):
            return SEVERAL_DEVICES
        unpredicted = next((one.unpredicted for one in plan if one.unpredicted), None)
        if unpredicted is not None:
            return unpredicted
        try:
            self.simulation.use(map(to_simulated_device, plan))
        except StrategyError as error:
            return str(error)
        return None

    def _list_useful(self, runs: SimulatedRuns) -> list[Strategy]:
        useful: list[Strategy] = []
        self.left_out[DeviceMap.__name__] = SEVERAL_DEVICES
        self.left_out[AttentionKernel.__name__] = TORCH_CHOOSES
        for strategy in list_candidates(self.simulation.pipe.strategies.networks):
            reason = self._reason_against(strategy, useful) or self._lack_of_gain(strategy, runs)
            if reason is None:
                useful.append(strategy)
            else:
                self.left_out[plan_name(frozenset({strategy}))] = reason
        return useful

    def _reason_against(self, strategy: Strategy, useful: Iterable[Strategy]) -> str | None:
        """Why a strategy is not even tried."""
        effects = (Effect.EXACT, Effect.APPROXIMATE) if self.approximate else (Effect.EXACT,)
        if type(strategy) in COMPONENT_SWITCHES:
            self.simulation.use(())  # what is exchanged for others is not a foreign one meanwhile
        obstacle = self.simulation.obstacle(strategy) or strategy.unpredicted
        if obstacle:
            return obstacle
        better = next((one for one in useful if type(one) is BETTER.get(type(strategy))), None)
        if better is not None:
            return f"{type(better).__name__} does it here, with a network of dpnb's own."
        return None if strategy.effect in effects else REASONS[strategy.effect]

    def _lack_of_gain(self, strategy: Strategy, runs: SimulatedRuns) -> str | None:
        """Why a strategy that can be switched on is of no use: it fails here, or saves nothing.

        What it alone changes is its gain: where it needs networks of dpnb's in the place of others,
        they are in both runs.
        """
        alone = frozenset({strategy})
        networks = self.simulation.pipe.strategies.networks
        without = self._simulate(frozenset(exchanges_for([strategy], networks)), runs, of=alone)
        run = self._simulate(alone, runs) if without is not None else None
        if without is None or run is None:
            return self.left_out[plan_name(alone)]
        if gains(without, run, self.simulation.profile, self.simulation.steps):
            return None
        return UNSURE_GAIN if strategy.saves_by_picture(networks) else NO_GAIN

    def _simulate(
        self, plan: Plan, runs: SimulatedRuns, of: Plan | None = None
    ) -> SimulatedRun | None:
        """The run under `plan`; where there is none, `left_out` says why, of that plan or `of`."""
        try:
            return runs.simulate(plan)
        except StrategyError as error:
            reason = str(error)
        except Exception as error:  # what a network does by itself may fail in whatever way
            what = describe_failure(error.__cause__ or error)
            reason = f"It can be switched on, but a run fails with it here: {what}."
        self.left_out[plan_name(plan if of is None else of)] = reason
        return None

    def _can_use(self, plan: Plan) -> bool:
        try:
            self.simulation.use(plan)
        except StrategyError:
            return False
        return True

    def _placements(self, run: SimulatedRun) -> Iterator[Offload]:
        for placement in self._offloads:
            yield placement
            if isinstance(placement, SequentialOffload):
                yield from self._list_budgets(placement, run)

    def _list_budgets(
        self, sequential: SequentialOffload, run: SimulatedRun
    ) -> list[SequentialOffload]:
        """With budgets between the least and the most, and with what the whole budget leaves."""
        weights = run.weights
        least, most = compute_memory_range(list(weights.networks))
        beside = max(step.peak for step in run.steps_before_decoding) + weights.kept
        profile = self.simulation.profile
        left = self.budget - profile.reserved
        if profile.is_asynchronous:
            left -= left // CACHED
        wanted = {least + (most - least) * part // 3 for part in (1, 2)} | {left - beside}
        rounded = {round_down(size) for size in wanted if least < size < most}
        kept = sorted((text for text in rounded if parse_bytes(text) > least), key=parse_bytes)
        return [replace(sequential, budget=text) for text in kept]

    def _row(
        self,
        plan: Plan,
        run: SimulatedRun,
        predictions: list[StepPrediction],
        memory: CardMemory | None,
    ) -> PlanRow:
        workload, networks = self.simulation.workload, self.simulation.pipe.strategies.networks
        denoising = [
            one for one, step in zip(predictions, run.steps, strict=True) if _denoises(step)
        ]
        inner = find_typical(denoising, run.shares)
        left = max(self.simulation.steps - len(denoising), 0)
        further = find_typical(denoising, [share - 1 for share in run.shares])
        seconds = sum(one.seconds for one in predictions) + left * further.seconds
        peaks: dict[str, int] = {}
        for one, step in zip(predictions, run.steps, strict=True):
            peaks[step.stage] = max(peaks.get(step.stage, 0), one.peak)
        return PlanRow(
            plan=plan,
            peaks=peaks,
            seconds_per_step=inner.seconds,
            seconds=seconds,
            seconds_per_picture=seconds / workload.batch,
            bound_by=find_bound(run.steps, inner, self.simulation.profile),
            moved=sum(one.moved for one in predictions) + left * further.moved,
            is_slowest=any(strategy.saves_by_picture(networks) for strategy in plan),
            memory=memory,
        )


def _denoises(step: StepTimeline) -> bool:
    return step.stage is Stage.DENOISING
