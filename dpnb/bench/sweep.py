"""Sweeps: plans measured one after another, each written to a file as soon as it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dpnb.bench.measurement import Benchmark, Measurement
from dpnb.bench.report import Report
from dpnb.numbers import parse_int
from dpnb.pipelines.attached.attach import to_explorable
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.plan_names import plan_name
from dpnb.planning.planner import plan as predict
from dpnb.planning.planner import profile_for, resolve_budget
from dpnb.planning.table import PlanTable
from dpnb.planning.workload import Workload
from dpnb.processes import ALONE, Processes
from dpnb.strategies.strategy import Plan, Strategy, check

BASELINE: Plan = frozenset()


SHORT = Workload(steps=20, guidance_scale=5.0)
"""What is drawn where nothing else is asked for."""


def sweep(
    pipe: Any,
    plans: Literal["all"] | PlanTable | Iterable[Strategy | Iterable[Strategy]] = "all",
    workload: Workload | None = None,
    *,
    budget: int | str | None = None,
    device: Any = None,
    approximate: bool = False,
    repeats: int = 3,
    path: str | Path | None = None,
    progress: bool = True,
    processes: Processes = ALONE,
) -> Report:
    """Measure plans: memory by stage, time, and what they do to the picture.

    Every plan draws the same picture from the same seed: once with every tensor counted, which also
    warms up, and then `repeats` times on the clock. One that runs out of memory is recorded as
    such, and the next one goes on. What is switched on beforehand is on again afterwards.

    Args:
        pipe: the pipeline; one that was not written here is attached, and stays so.
        plans: `"all"` that `dpnb.plan` finds; a table of it, which says what is drawn, the budget
            and the device too; or plans: strategies, or sets of them.
        workload: what is drawn.
        budget: as for `dpnb.plan`; the figures show it.
        device: as for `dpnb.plan`: where the plans that it finds offload to.
        approximate: whether those may change the picture slightly.
        repeats: timed runs of each plan.
        path: a JSON file that is written after every plan. What it holds already of this model and
            workload is not measured again, so that a sweep that was broken off goes on.
        progress: whether to show a bar.
        processes: that share the plans; each has the pipeline on a device of its own. All of them
            return the whole report; the main one writes it.

    Returns:
        The report, the baseline without strategies first.

    Raises:
        AttachError: `pipe` is no pipeline, or one that cannot be attached.
        StrategyError: a plan contradicts itself; nothing has been measured then.
        ValueError: the workload cannot be drawn, or the file is of another sweep.
    """
    explored = to_explorable(pipe)
    _check(repeats, isinstance(plans, PlanTable) and (workload or budget or device))
    given = plans if isinstance(plans, PlanTable) else None
    bench = Benchmark(explored, workload or (SHORT if given is None else given.workload), repeats)
    chosen = None if plans == "all" else [_as_plan(entry) for entry in _entries(plans)]
    file = None if path is None else SweepFile(Path(path))

    def begin() -> Report:
        place = device if processes.count == 1 else _without_number(profile_for(device, explored))
        table = given or _predict(
            explored, bench.workload, chosen, budget, place, approximate, file
        )
        return Report(table, () if file is None else file.read_measurements(table))

    begun = processes.agree(begin)
    wanted = [row.plan for row in begun.table] if chosen is None else chosen
    order = list(dict.fromkeys([BASELINE, *wanted]))
    return _measure(bench, order, begun, file, processes, progress)


def _check(repeats: int, is_told_twice: object) -> None:
    parse_int("repeats", repeats, least=1)
    if is_told_twice:
        raise ValueError(
            "a table of plans says what is drawn, the budget and the device; give these to "
            "dpnb.plan instead."
        )


def _predict(
    pipe: ExplorablePipeline,
    workload: Workload,
    plans: list[Plan] | None,
    budget: int | str | None,
    device: Any,
    approximate: bool,
    file: SweepFile | None,
) -> PlanTable:
    """The predictions; those of the file, where it was begun with the same plans."""
    former = None if file is None else file.table
    if former is not None and plans is None:
        profile = profile_for(device, pipe)
        place = (profile.name, profile.torch_device)
        asked = (workload, approximate, resolve_budget(budget, profile), *place)
        begun = (former.workload, former.approximate, former.budget)
        if asked == (*begun, former.device.name, former.device.torch_device):
            return former
    given: Any = "all" if plans is None else [BASELINE, *plans]
    return predict(
        pipe, budget, workload=workload, device=device, approximate=approximate, plans=given
    )


def _measure(
    bench: Benchmark,
    order: list[Plan],
    begun: Report,
    file: SweepFile | None,
    processes: Processes,
    progress: bool,
) -> Report:
    rows = {row.plan: row for row in begun.table}
    done = {one.plan: one for one in begun.measurements}
    share = processes.share([plan for plan in order if plan not in done])
    baseline = None if not share or share[0] == BASELINE else bench.draw_with(BASELINE)
    found: list[Measurement] = []
    for plan in _with_progress(share, progress and processes.is_main):
        measurement, images = bench.measure(plan, rows.get(plan))
        baseline = images if plan == BASELINE else baseline
        found.append(_with_difference(measurement, images, baseline))
        if file is not None:
            file.save_progress(
                replace(begun, measurements=(*begun.measurements, *found)), processes
            )
    done |= {one.plan: one for one in processes.gather(found)}
    report = replace(begun, measurements=tuple(done[plan] for plan in order))
    if file is not None and processes.is_main:
        file.finish(report)
    return report


@dataclass(frozen=True)
class SweepFile:
    """Where a sweep is kept while it goes on.

    Each of several processes has a file of its own beside it until all are done.

    Args:
        path: of the whole.
    """

    path: Path

    @property
    def table(self) -> PlanTable | None:
        """With which the sweep was begun."""
        return next((report.table for report in self._reports()), None)

    def read_measurements(self, table: PlanTable) -> tuple[Measurement, ...]:
        """What was measured before of the same sweep.

        Raises:
            ValueError: the file is of another sweep.
        """
        done: dict[Plan, Measurement] = {}
        for former in self._reports():
            if (former.model, former.workload) != (table.model, table.workload):
                raise ValueError(
                    f"{self.path} is a sweep of {former.model}, {former.workload.describe()}, and "
                    f"not of {table.model}, {table.workload.describe()}; give another file, or "
                    "remove that one."
                )
            done |= {one.plan: one for one in former.measurements}
        return tuple(done.values())

    def save_progress(self, report: Report, processes: Processes) -> None:
        """Write what this process has so far."""
        report.save(self.path if processes.count == 1 else self._part(processes.index))

    def finish(self, report: Report) -> None:
        """Write the whole, which takes the place of all parts."""
        report.save(self.path)
        for part in self._parts():
            part.unlink()

    def _part(self, index: int) -> Path:
        return self.path.with_name(f"{self.path.stem}-process-{index}{self.path.suffix}")

    def _parts(self) -> list[Path]:
        names = f"{self.path.stem}-process-*{self.path.suffix}"
        return sorted(self.path.parent.glob(names))

    def _reports(self) -> Iterator[Report]:
        for file in (self.path, *self._parts()):
            if file.is_file():
                yield Report.load(file)


def _without_number(profile: DeviceProfile) -> DeviceProfile:
    """The profile of a device that each process has one of: without the number of one."""
    kind, _, number = (profile.torch_device or "").partition(":")
    return replace(profile, torch_device=kind) if number.isdecimal() else profile


def _entries(plans: Any) -> Iterable[Strategy | Iterable[Strategy]]:
    return [row.plan for row in plans] if isinstance(plans, PlanTable) else plans


def _as_plan(entry: Strategy | Iterable[Strategy]) -> Plan:
    plan = frozenset({entry}) if isinstance(entry, Strategy) else frozenset(entry)
    check(plan)
    return plan


def _with_difference(measurement: Measurement, images: Any, baseline: Any) -> Measurement:
    if images is None or baseline is None:
        return measurement
    difference = np.abs(images - baseline)
    return replace(
        measurement,
        difference=float(difference.max()),
        mean_difference=float(difference.mean()),
    )


def _with_progress(plans: list[Plan], progress: bool) -> Iterator[Plan]:
    if not progress or not plans:
        yield from plans
        return
    from tqdm.auto import tqdm

    with tqdm(total=len(plans), unit="plan") as bar:
        for plan in plans:
            bar.set_description(plan_name(plan)[:48])
            yield plan
            bar.update()
