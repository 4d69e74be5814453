"""Sweeps: plans measured one after another, each written to a file as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dpnb.bench.measurement import Benchmark, Measurement
from dpnb.bench.report import Report
from dpnb.fidelity.quality import PictureSet, Quality
from dpnb.fidelity.scores import needs_quality_packages
from dpnb.fidelity.visibility import allows_changes
from dpnb.numbers import parse_int
from dpnb.pipelines.attached.attach import to_explorable
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.plan_names import plan_name
from dpnb.planning.planner import model_title, profile_for, resolve_budget
from dpnb.planning.planner import plan as predict
from dpnb.planning.table import PlanTable
from dpnb.planning.weight_sizes import describe_dtypes, list_dtypes
from dpnb.planning.workload import Workload
from dpnb.planning.workload_arguments import check_workload
from dpnb.processes import ALONE, Processes
from dpnb.strategies.offload.backends import target_device
from dpnb.strategies.plans import parse_plans
from dpnb.strategies.strategy import Effect, Plan, Strategy

BASELINE: Plan = frozenset()


SHORT = Workload(steps=20, guidance_scale=5.0)
"""What is drawn where nothing else is asked for."""

PROMPTS = ("cat face", "rocket", "pizza")
"""What is drawn beside the workload's prompt to see what plans do to the picture."""

SEEDS = (0, 1)
"""From each of which each prompt is drawn for that."""


def sweep(
    pipe: Any,
    plans: Literal["all"] | PlanTable | Iterable[Strategy | Iterable[Strategy]] = "all",
    workload: Workload | None = None,
    *,
    budget: int | str | None = None,
    device: Any = None,
    approximate: bool = False,
    max_difference: float | str | None = None,
    repeats: int = 3,
    path: str | Path | None = None,
    progress: bool = True,
    processes: Processes = ALONE,
    quality: bool | PictureSet = False,
) -> Report:
    """Measure plans: memory by stage, time, and what they do to the picture.

    Every plan draws the same picture, once with every tensor counted and `repeats` times on the
    clock; that one runs out of memory is recorded. What was switched on is on again then.

    Args:
        pipe: the pipeline; one that was not written here is attached, and stays so.
        plans: `"all"` that `dpnb.plan` finds; a table of it; or strategies, or sets of them.
        workload: what is drawn.
        budget: as for `dpnb.plan`; the figures show it.
        device: where the plans that it finds offload to: one at hand, or a simulated link.
        approximate: whether those may change the picture.
        max_difference: as for `dpnb.plan`; the report dims what does more to the picture.
        repeats: timed runs of each plan.
        path: a JSON file, written after every plan, from which a broken-off sweep goes on.
        progress: whether to show a bar.
        processes: that share the plans, each on a device of its own. All return the whole report.
        quality: whether pictures of several prompts and seeds, or of these, are compared with those
            of no strategies, or else of the first exact plan that draws.

    Returns:
        The report, the baseline without strategies first.

    Raises:
        AttachError: `pipe` is no pipeline, or one that cannot be attached.
        StrategyError: a plan contradicts itself; nothing has been measured then.
        ValueError: the workload cannot be drawn, or the file is of another sweep.
        MissingPackageError: quality is asked for without the packages of `dpnb[quality]`.
    """
    explored, limits = to_explorable(pipe), Limits(budget, approximate, max_difference)
    given = plans if isinstance(plans, PlanTable) else None
    is_told = (workload, device, limits) != (None, None, Limits())
    _check(repeats, limits, is_told_twice=given is not None and is_told, compares=bool(quality))
    _check_asked(explored, workload, device)
    bench = Benchmark(explored, workload or (SHORT if given is None else given.workload), repeats)
    chosen, pictures = parse_plans(plans), _choose_pictures(bench, quality)
    file = None if path is None else SweepFile(Path(path))

    def begin() -> Report:
        place = device if processes.count == 1 else _without_number(profile_for(device, explored))
        table = given or _predict(bench, chosen, place, limits, file)
        return Report(table, pictures=pictures) if file is None else file.begin(table, pictures)

    begun = processes.agree(begin)
    return SweepRun(bench, begun, file, processes).measure(chosen, pictures, progress)


def _check_asked(pipe: ExplorablePipeline, workload: Workload | None, device: Any) -> None:
    if isinstance(device, str):
        target_device(device)
    if workload is not None:
        check_workload(pipe, workload)


def _check(repeats: int, limits: Limits, *, is_told_twice: bool, compares: bool) -> None:
    parse_int("repeats", repeats, least=1)
    if limits.max_difference is not None and not compares:
        raise ValueError(
            "max_difference says how far pictures may differ, and none are compared; give "
            "quality=True, too."
        )
    if is_told_twice:
        raise ValueError(
            "a table of plans says what is drawn, the budget, the device and what the picture may "
            "lose; give these to dpnb.plan instead."
        )


@dataclass(frozen=True)
class Limits:
    """What plans may need, and may do to the picture.

    Args:
        budget: as for `dpnb.plan`.
        approximate: whether plans may change the picture.
        max_difference: as for `dpnb.plan`.
    """

    budget: int | str | None = None
    approximate: bool = False
    max_difference: float | str | None = None


def _predict(
    bench: Benchmark,
    plans: list[Plan] | None,
    device: Any,
    limits: Limits,
    file: SweepFile | None,
) -> PlanTable:
    """The predictions; those of the file, where it was begun with the same plans."""
    pipe, workload = bench.pipe, bench.workload
    budget, max_difference = limits.budget, limits.max_difference
    approximate = limits.approximate or allows_changes(max_difference)
    former = None if file is None else file.table
    if former is not None and plans is None:
        profile = profile_for(device, pipe)
        with pipe.strategies.using():
            dtype = describe_dtypes(list_dtypes(pipe.parts().values()))
        now = replace(
            former, model=model_title(pipe), dtype=dtype, workload=workload, device=profile,
            approximate=approximate,
            budget=former.budget if budget is None else resolve_budget(budget, profile),
        )  # fmt: skip
        is_alike = _identity(now) == _identity(former)
        if is_alike and (now.approximate, now.budget) == (former.approximate, former.budget):
            return former.limited(max_difference, None)
    given: Any = "all" if plans is None else [BASELINE, *plans]
    return predict(
        pipe, budget, workload=workload, device=device, approximate=approximate, plans=given,
        max_difference=max_difference,
    )  # fmt: skip


def choose_pictures(prompts: Sequence[str] | None, count: int) -> PictureSet:
    """What is drawn to see what plans do to the picture.

    Args:
        prompts: in words; by default some that most models know.
        count: seeds from which each is drawn, at least one.

    Raises:
        ValueError: there is nothing to draw.
    """
    given = (prompts,) if isinstance(prompts, str) else prompts
    return PictureSet(tuple(given or (Workload().prompt, *PROMPTS)), tuple(range(count)))


def _choose_pictures(bench: Benchmark, quality: bool | PictureSet) -> PictureSet | None:
    """What is drawn to see what plans do to it; a pipeline without words has one prompt."""
    given: Any = quality
    if not isinstance(given, bool | PictureSet | None):
        raise TypeError(
            f"quality is {given!r}; give True, False, or a PictureSet of what is to be drawn."
        )
    if not quality:
        return None
    needs_quality_packages()
    has_words = bench.pipe.call_signature.find("prompt") is not None
    usual = PictureSet((bench.workload.prompt, *PROMPTS), SEEDS)
    pictures = quality if isinstance(quality, PictureSet) else usual
    return pictures if has_words else replace(pictures, prompts=("",))


@dataclass(frozen=True)
class SweepRun:
    """A sweep that goes on.

    Args:
        bench: measures the plans.
        begun: what was measured before.
        file: where it is kept.
        processes: that share the plans.
    """

    bench: Benchmark
    begun: Report
    file: SweepFile | None
    processes: Processes

    def measure(
        self, chosen: list[Plan] | None, pictures: PictureSet | None, progress: bool
    ) -> Report:
        """Measure what was not measured before, the baseline first.

        Args:
            chosen: the plans; those of the table by default.
            pictures: that are compared.
            progress: whether to show a bar.

        Raises:
            ValueError: what is drawn are no pictures, and they were to be compared.
        """
        rows = {row.plan: row for row in self.begun.table}
        order = list(dict.fromkeys([BASELINE, *(rows if chosen is None else chosen)]))
        done = {one.plan: one for one in self.begun.measurements if _is_complete(one, pictures)}
        share = self.processes.share([plan for plan in order if plan not in done])
        baseline = None
        if share and share[0] != BASELINE:
            baseline = self.bench.draw_with(BASELINE)
        judge = _no_judge if pictures is None else self._judge(order if share else [], pictures)
        found: list[Measurement] = []
        for plan in _with_progress(share, progress and self.processes.is_main):
            one, images = self.bench.measure(plan, rows.get(plan))
            baseline = images if plan == BASELINE else baseline
            one = _with_difference(one, images, baseline)
            found.append(replace(one, quality=judge(plan) if one.is_finished else None))
            self._save([*done.values(), *found])
        done |= {one.plan: one for one in self.processes.gather(found)}
        report = replace(self.begun, measurements=tuple(done[plan] for plan in order))
        if self.file is not None and self.processes.is_main:
            self.file.finish(report)
        return report

    def _judge(self, order: list[Plan], pictures: PictureSet) -> Callable[[Plan], Quality | None]:
        """What says what a plan does to the pictures.

        They are compared with those that are drawn without strategies, or with exact ones.
        """
        exact = (plan for plan in order if all(s.effect is Effect.EXACT for s in plan))
        drawn = (self.bench.draw_set(plan, pictures) for plan in exact)
        plain = next((images for images in drawn if images is not None), None)
        if plain is None:
            return _no_judge
        return lambda plan: self.bench.judge(plan, pictures, plain)

    def _save(self, measurements: list[Measurement]) -> None:
        if self.file is not None:
            report = replace(self.begun, measurements=tuple(measurements))
            self.file.save_progress(report, self.processes)


def _no_judge(_: Plan) -> Quality | None:
    return None


def _is_complete(one: Measurement, pictures: PictureSet | None) -> bool:
    """Whether a plan needs no further measuring."""
    return pictures is None or not one.is_finished or one.quality is not None


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

    def begin(self, table: PlanTable, pictures: PictureSet | None) -> Report:
        """What was measured before of the same sweep.

        Args:
            table: of its plans.
            pictures: that are compared, if that was asked for.

        Raises:
            ValueError: the file is of another sweep.
        """
        done: dict[Plan, Measurement] = {}
        compared = pictures
        for former in self._reports():
            if _identity(former.table) != _identity(table):
                raise ValueError(
                    f"{self.path} is a sweep of {_describe(former.table)}, and not of "
                    f"{_describe(table)}; give another file, or remove that one."
                )
            if former.pictures is not None:
                compared = compared or former.pictures
                if compared != former.pictures:
                    raise ValueError(
                        f"{self.path} compares {former.pictures.describe()}, and not these; give "
                        "another file, or the same prompts and seeds."
                    )
            done |= {one.plan: one for one in former.measurements}
        return Report(table, tuple(done.values()), compared)

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


def _identity(table: PlanTable) -> tuple[object, ...]:
    """What all measurements of one sweep have in common."""
    device = _without_number(table.device)
    return table.model, table.dtype, table.workload, device.name, device.torch_device


def _describe(table: PlanTable) -> str:
    dtype = "" if table.dtype is None else f" in {table.dtype}"
    place = table.device.torch_device
    device = table.device.name if place is None else f"{table.device.name} ({place})"
    return f"{table.model}{dtype}, {table.workload.describe()}, on {device}"


def _without_number(profile: DeviceProfile) -> DeviceProfile:
    """The profile of a device that each process has one of: without the number of one."""
    kind, _, number = (profile.torch_device or "").partition(":")
    return replace(profile, torch_device=kind) if number.isdecimal() else profile


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
