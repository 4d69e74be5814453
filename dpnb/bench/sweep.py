"""Plans against a workload: measured one after another, and kept as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dpnb.bench.measurement import Bench, Measurement
from dpnb.bench.report import Report
from dpnb.errors import ComponentError
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.planning.planner import plan as predict
from dpnb.planning.planner import profile_for
from dpnb.planning.table import PlanRow, plan_name
from dpnb.planning.workload import Workload
from dpnb.strategies.strategy import Plan, Strategy, check

BASELINE: Plan = frozenset()


def sweep(
    pipe: TextToImagePipeline,
    plans: Literal["all"] | Iterable[Strategy | Iterable[Strategy]] = "all",
    workload: Workload | None = None,
    *,
    budget: int | str | None = None,
    device: Any = None,
    approximate: bool = False,
    repeats: int = 3,
    path: str | Path | None = None,
    progress: bool = True,
) -> Report:
    """Measure plans: memory by stage, time, and what they do to the picture.

    Every plan draws the same picture from the same seed: once with every tensor counted, which also
    warms up, and then `repeats` times on the clock. One that runs out of memory is recorded as
    such, and the next one goes on. What is switched on beforehand is on again afterwards.

    Args:
        pipe: the pipeline.
        plans: `"all"` that `dpnb.plan` finds, or plans: strategies, or sets of them.
        workload: what is drawn.
        budget: as for `dpnb.plan`; the figures show it.
        device: as for `dpnb.plan`: where the plans that it finds offload to.
        approximate: whether those may change the picture slightly.
        repeats: timed runs of each plan.
        path: a JSON file that is written after every plan. What it holds already of this model and
            workload is not measured again, so that a sweep that was broken off goes on.
        progress: whether to show a bar.

    Returns:
        The report, the baseline without strategies first.

    Raises:
        StrategyError: a plan contradicts itself; nothing has been measured then.
        ValueError: the workload cannot be drawn, or the file is of another sweep.
    """
    if not isinstance(pipe, TextToImagePipeline):
        raise ComponentError(
            f"sweep measures pipelines of dpnb that draw from words, not {type(pipe).__name__}."
        )
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; measure at least once.")
    drawn = (workload or Workload()).sized(pipe)
    chosen = None if plans == "all" else [_as_plan(entry) for entry in plans]
    table = predict(pipe, budget, workload=drawn, device=device, approximate=approximate)
    rows = {row.plan: row for row in table.rows}
    wanted = list(rows) if chosen is None else chosen
    begun = _begun(path, Report(table.model, drawn, table.budget, profile_for(device, pipe).name))
    return _measure(Bench(pipe, drawn, repeats), wanted, rows, begun, path, progress)


def _measure(
    bench: Bench,
    wanted: list[Plan],
    rows: dict[Plan, PlanRow],
    report: Report,
    path: str | Path | None,
    progress: bool,
) -> Report:
    done = {measurement.plan: measurement for measurement in report.measurements}
    order = list(dict.fromkeys([BASELINE, *wanted]))
    missing = [plan for plan in order if plan not in done]
    baseline: Any = None
    if missing and missing[0] != BASELINE:
        baseline = bench.measure(BASELINE)[1]
    for plan in _shown(missing, progress):
        measurement, images = bench.measure(plan, rows.get(plan))
        baseline = images if plan == BASELINE else baseline
        done[plan] = _compared(measurement, images, baseline)
        found = tuple(done[each] for each in order if each in done)
        report = replace(report, measurements=found)
        if path is not None:
            _write(Path(path), report)
    return replace(report, measurements=tuple(done[each] for each in order))


def _as_plan(entry: Strategy | Iterable[Strategy]) -> Plan:
    plan = frozenset({entry}) if isinstance(entry, Strategy) else frozenset(entry)
    check(plan)
    return plan


def _compared(measurement: Measurement, images: Any, baseline: Any) -> Measurement:
    if images is None or baseline is None:
        return measurement
    difference = np.abs(images - baseline)
    return replace(
        measurement,
        difference=float(difference.max()),
        mean_difference=float(difference.mean()),
    )


def _begun(path: str | Path | None, fresh: Report) -> Report:
    """What was measured before of the same sweep."""
    if path is None or not Path(path).is_file():
        return fresh
    former = Report.load(path)
    if (former.model, former.workload) != (fresh.model, fresh.workload):
        raise ValueError(
            f"{path} is a sweep of {former.model}, {former.workload.describe()}, and not of "
            f"{fresh.model}, {fresh.workload.describe()}; give another file, or remove that one."
        )
    return replace(former, budget=fresh.budget)


def _write(path: Path, report: Report) -> None:
    """Replace the file as a whole, so that it is complete whenever this is broken off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")
    os.replace(partial, path)


def _shown(plans: list[Plan], progress: bool) -> Iterator[Plan]:
    if not progress or not plans:
        yield from plans
        return
    from tqdm.auto import tqdm

    with tqdm(total=len(plans), unit="plan") as bar:
        for plan in plans:
            bar.set_description(plan_name(plan)[:48])
            yield plan
            bar.update()
