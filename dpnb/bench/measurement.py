"""The measurement of a plan: memory by stage, time, and the picture."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch

from dpnb.bench.output_values import read_values
from dpnb.errors import NonFiniteError, StrategyError
from dpnb.fidelity.quality import PictureSet, Quality, score_picture
from dpnb.metering.cuda import CudaMeter
from dpnb.metering.tensors import TensorMeter
from dpnb.metering.trace import Trace
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.recording import record
from dpnb.planning.needed_pictures import make_needed_pictures
from dpnb.planning.plan_names import plan_name
from dpnb.planning.table import PlanRow
from dpnb.planning.weight_sizes import idle_weight_bytes
from dpnb.planning.workload import Workload
from dpnb.planning.workload_arguments import arguments_for, with_defaults_of
from dpnb.stages import Stage
from dpnb.strategies.out_of_memory import ALLOCATION_ERRORS, is_out_of_memory
from dpnb.strategies.plans import plan_from_json, plan_to_json
from dpnb.strategies.strategy import Plan
from dpnb.validation import Parsed, from_plain, to_plain

OUT_OF_MEMORY = "out of memory"

FAILURES = (*ALLOCATION_ERRORS, StrategyError, NonFiniteError)
"""The classes of errors that may say why a plan cannot be measured."""


@dataclass(frozen=True)
class Measurement:
    """What a plan has cost.

    Attributes:
        plan: what was switched on.
        outcome: `"finished"`, `"out of memory"`, or why it could not be measured.
        peaks: the most bytes on the device in each stage, weights and all else.
        seconds: of a whole run, the median of the repeats.
        seconds_per_step: of a denoising step, the median of all.
        spread: seconds between the fastest and the slowest run; `None` of one alone.
        difference: the largest difference of a value in [0, 1] from the baseline's picture.
        mean_difference: the mean one.
        predicted: what was predicted for it, if that was asked for.
        quality: what it does to pictures of several prompts and seeds, if that was asked for.
    """

    plan: Annotated[Plan, Parsed(plan_from_json)]
    outcome: str
    peaks: Mapping[str, int]
    seconds: float | None = None
    seconds_per_step: float | None = None
    spread: float | None = None
    difference: float | None = None
    mean_difference: float | None = None
    predicted: PlanRow | None = None
    quality: Quality | None = None

    @property
    def name(self) -> str:
        """The strategies, in words."""
        return plan_name(self.plan)

    @property
    def is_finished(self) -> bool:
        """Whether it has drawn."""
        return self.outcome == "finished"

    @property
    def peak(self) -> int:
        """The most bytes on the device."""
        return max(self.peaks.values(), default=0)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        predicted = None if self.predicted is None else self.predicted.to_json()
        plan = plan_to_json(self.plan)
        values |= {"plan": plan, "peaks": dict(self.peaks), "predicted": predicted}
        return {**values, "quality": to_plain(self.quality)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Measurement:
        """What `to_json` has written.

        Raises:
            ValueError: this is no measurement.
        """
        return from_plain(cls, values, "measurement")


class Benchmark:
    """Measures plans of one pipeline.

    Args:
        pipe: the pipeline; what is switched on is put back after every plan.
        workload: what is drawn.
        repeats: timed runs of each plan, after one that warms up and is metered.
    """

    def __init__(self, pipe: ExplorablePipeline, workload: Workload, repeats: int) -> None:
        self.pipe = pipe
        self.workload = with_defaults_of(pipe, workload)
        self.repeats = repeats

    def draw_with(self, plan: Plan) -> Any:
        """Draw with a plan: pictures, `[batch, height, width, 3]`; `None` where it fails."""
        try:
            with self.pipe.strategies.using(*plan):
                return self._draw()
        except FAILURES as error:
            _outcome(error)
            return None

    def draw_set(self, plan: Plan, pictures: PictureSet) -> list[Any] | None:
        """Draw each prompt from each seed with a plan.

        Args:
            plan: what is switched on meanwhile.
            pictures: what is drawn.

        Returns:
            Arrays `[batch, ..., height, width, 3]`, a prompt's seeds one after the other; `None`
            where the plan fails.
        """
        try:
            with self.pipe.strategies.using(*plan):
                return [
                    self._draw(replace(self.workload, prompt=prompt, seed=seed))
                    for prompt in pictures.prompts
                    for seed in pictures.seeds
                ]
        except FAILURES as error:
            _outcome(error)
            return None

    def judge(self, plan: Plan, pictures: PictureSet, plain: list[Any]) -> Quality | None:
        """What a plan does to the pictures; `None` where it fails.

        Args:
            plan: what is switched on meanwhile.
            pictures: what is drawn; of each prompt the first picture is kept, small.
            plain: what `draw_set` has drawn of them without it.

        Raises:
            ValueError: what is drawn are no pictures.
        """
        drawn = self.draw_set(plan, pictures)
        if drawn is None:
            return None
        named = [(prompt, seed) for prompt in pictures.prompts for seed in pictures.seeds]
        return Quality(
            tuple(
                score_picture(prompt, seed, one, other, keeps=seed == pictures.seeds[0])
                for (prompt, seed), one, other in zip(named, plain, drawn, strict=True)
            )
        )

    def measure(self, plan: Plan, predicted: PlanRow | None = None) -> tuple[Measurement, Any]:
        """A plan's cost, and its pictures `[batch, height, width, 3]`; `None` where it failed.

        The difference from a baseline is left open.
        """
        before = self.pipe.strategies.active
        try:
            self.pipe.strategies.use(plan)
            return self._run(plan, predicted)
        except FAILURES as error:
            return Measurement(plan, _outcome(error), {}, predicted=predicted), None
        finally:
            self.pipe.strategies.use(before)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _run(self, plan: Plan, predicted: PlanRow | None) -> tuple[Measurement, Any]:
        device = self.pipe.execution_device
        is_gpu = device.type == "cuda"
        resting = 0 if is_gpu else idle_weight_bytes(self.pipe.strategies.networks)
        with record(self.pipe, CudaMeter(device) if is_gpu else TensorMeter()) as metered:
            images = self._draw()
        seconds, steps = [], []
        for _ in range(self.repeats):
            started = time.perf_counter()
            with record(self.pipe, "cuda" if is_gpu else "host") as timed:
                self._draw()
            seconds.append(time.perf_counter() - started)
            steps += _step_seconds(timed.trace)
        summary = {name: stage.peak + resting for name, stage in metered.by_stage().items()}
        return (
            Measurement(
                plan=plan,
                outcome="finished",
                peaks=summary,
                seconds=median(seconds),
                seconds_per_step=median(steps),
                spread=max(seconds) - min(seconds) if len(seconds) > 1 else None,
                predicted=predicted,
            ),
            images,
        )

    def _draw(self, workload: Workload | None = None) -> np.ndarray[Any, Any]:
        asked = workload or self.workload
        pictures = make_needed_pictures(self.pipe, asked)
        arguments = {**pictures, **arguments_for(self.pipe, asked)}
        return read_values(self.pipe.make_run(**arguments)())


def _outcome(error: Exception) -> str:
    """Why a plan could not be measured; what says nothing about the plan is raised again."""
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, (StrategyError, NonFiniteError)):
        return str(error)
    raise error


def _step_seconds(trace: Trace) -> list[float]:
    return [step.duration for step in trace.steps if step.stage is Stage.DENOISING]
