"""Runs that are over as tables, JSON and archives, for other programs."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from dpnb.pipelines.settings.picture_files import encode_with_settings
from dpnb.pipelines.settings.picture_settings import PlanFrom
from dpnb.pipelines.settings.plain_values import split_plain
from dpnb.stages import Stage
from dpnb.strategies.catalog import KINDS
from dpnb.strategies.settings import describe_strategy
from dpnb.widgets.picture_judge import Verdict
from dpnb.widgets.run_settings import list_picture_settings, list_seeds
from dpnb.widgets.state import FinishedRun, Request

FORMAT = "dpnb runs 1"

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in an archive, so that the same runs make the same bytes."""

REQUEST = (
    "prompt",
    "negative_prompt",
    "steps",
    "guidance_scale",
    "width",
    "height",
    "seed",
    "count",
    "strength",
)
"""Fields of a request that are plain values."""

DIFFERENCE = ("flip", "flip_worst_tile", "flip_size", "picture")
"""How far a run's picture is from another's: the mean, the worst tile, and what both come to."""

COLUMNS = (
    "number",
    "name",
    "outcome",
    "error",
    *REQUEST,
    "seeds",
    "more",
    "scheduler",
    "pipeline",
    "model",
    "model_hash",
    "strategies",
    "switched",
    "meter",
    "weights_bytes",
    "peak_bytes",
    *(f"peak_{stage}_bytes" for stage in Stage),
    "seconds",
    *(f"seconds_{stage}" for stage in Stage),
    "seconds_per_step",
    "compared_with",
    *DIFFERENCE,
)

Differences: TypeAlias = Mapping[int, tuple[int, Verdict]]
"""The number of a run → that of the run it was compared with, and how far it is from it."""


def runs_to_json(
    runs: Sequence[FinishedRun],
    names: Mapping[int, str] | None = None,
    differences: Differences | None = None,
) -> str:
    """Runs as JSON: what was asked for, switched, measured, and how each ended.

    Args:
        runs: in the order in which they are written.
        names: what people call them, by number.
        differences: how far their pictures are from those of another run, where that is known.

    Returns:
        An object whose `runs` are a list; bytes and seconds are plain numbers.
    """
    records = [_record(run, names or {}, differences or {}) for run in runs]
    return json.dumps({"format": FORMAT, "runs": records}, indent=2, allow_nan=False) + "\n"


def runs_to_csv(
    runs: Sequence[FinishedRun],
    names: Mapping[int, str] | None = None,
    differences: Differences | None = None,
) -> str:
    """Runs as a table with a heading, a line for each.

    Args:
        runs: in the order in which they are written.
        names: what people call them, by number.
        differences: how far their pictures are from those of another run, where that is known.

    Returns:
        Comma-separated values; what is not known is empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for run in runs:
        writer.writerow(_row(_record(run, names or {}, differences or {}), run))
    return text.getvalue()


def zip_runs(
    runs: Sequence[FinishedRun],
    names: Mapping[int, str] | None = None,
    differences: Differences | None = None,
) -> bytes:
    """A ZIP file of runs: `runs.csv`, `runs.json`, and their pictures with their settings.

    Args:
        runs: that are over.
        names: what people call them, by number.
        differences: how far their pictures are from those of another run, where that is known.

    Returns:
        The same bytes for the same runs. Pictures are called `run-001-1.png`: by the number of the
        run and their place in it, from 1.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        _add(archive, "runs.csv", runs_to_csv(runs, names, differences).encode())
        _add(archive, "runs.json", runs_to_json(runs, names, differences).encode())
        for run in runs:
            for name, file in list_picture_files(run):
                _add(archive, name, file)
    return content.getvalue()


def list_picture_files(run: FinishedRun) -> Iterator[tuple[str, bytes]]:
    """The pictures of a run as PNG files that hold their settings, each with its name."""
    settings = list_picture_settings(run)
    for place, (picture, its) in enumerate(zip(run.pictures, settings, strict=True), start=1):
        yield f"run-{run.number:03d}-{place}.png", encode_with_settings(picture, its)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, EPOCH)
    is_packed = name.endswith(".png")
    info.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


def _record(run: FinishedRun, names: Mapping[int, str], differences: Differences) -> dict[str, Any]:
    """A run as plain JSON values."""
    compared_with, found = differences.get(run.number, (None, None))
    values = found and (found.flip, found.flip_worst, found.size, str(found.words))
    done, settings = run.trace.runs[0], run.settings
    stages = done.by_stage()
    return {
        "number": run.number,
        "name": names.get(run.number),
        "outcome": done.outcome,
        "error": done.error,
        "request": None if run.request is None else _write_request(run.request),
        "seeds": list(list_seeds(run)),
        "scheduler": None if settings is None else settings.scheduler,
        "scheduler_settings": None if settings is None else dict(settings.scheduler_settings),
        "pipeline": None if settings is None else settings.pipeline,
        "model": None if settings is None else settings.model,
        "model_hash": None if settings is None else settings.model_hash,
        "strategies": [{"step": one.step, "strategies": list(one.strategies)} for one in run.plans],
        "events": [{"seconds": one.time, "text": one.text} for one in run.trace.events],
        "meter": run.trace.meter,
        "weights": run.weights,
        "peak": done.peak,
        "peak_by_stage": {str(name): one.peak for name, one in stages.items()},
        "seconds": done.duration,
        "seconds_by_stage": {str(name): one.seconds for name, one in stages.items()},
        "seconds_per_step": run.trace.seconds_per_step,
        "compared_with": compared_with,
        **dict(zip(DIFFERENCE, values or (None,) * len(DIFFERENCE), strict=True)),
        "steps": [
            {
                "stage": str(step.stage),
                "index": step.index,
                "seconds": step.duration,
                "peak": step.peak,
            }
            for step in done.steps
        ],
    }


def _write_request(request: Request) -> dict[str, Any]:
    more, others = split_plain(dict(request.more))
    return {
        **{name: getattr(request, name) for name in REQUEST},
        "scheduler": request.scheduler,
        "more": more,
        "pictures": [*(name for name, _ in request.pictures), *others],
    }


def _row(record: dict[str, Any], run: FinishedRun) -> dict[str, Any]:
    """A record as the cells of a line."""
    asked = record["request"] or {}
    row = {name: record.get(name, asked.get(name)) for name in COLUMNS}
    if run.settings is not None:
        known = {name: getattr(run.settings, name) for name in REQUEST if name != "count"}
        row |= {name: value for name, value in known.items() if row[name] is None}
    row["seeds"] = " ".join("" if seed is None else str(seed) for seed in record["seeds"])
    row["more"] = json.dumps(asked["more"]) if asked.get("more") else ""
    row["strategies"] = "; ".join(_name_plan(one) for one in run.plans[:1])
    row["switched"] = "; ".join(
        f"from step {one.step}: {_name_plan(one) or 'nothing'}" for one in run.plans[1:]
    )
    row["weights_bytes"], row["peak_bytes"] = record["weights"], record["peak"]
    for stage in Stage:
        row[f"peak_{stage}_bytes"] = record["peak_by_stage"].get(str(stage))
        row[f"seconds_{stage}"] = record["seconds_by_stage"].get(str(stage))
    return row


def _name_plan(one: PlanFrom) -> str:
    """A plan in words; a strategy of somebody's own by its name alone."""
    known = [(KINDS.get(values["strategy"]), values) for values in one.strategies]
    return ", ".join(
        values["strategy"] if kind is None else describe_strategy(kind.from_json(values))
        for kind, values in known
    )
