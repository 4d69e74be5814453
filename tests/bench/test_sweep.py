"""Plans, measured one after another."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console
from torch import nn

import dpnb
from dpnb.bench.figures import group_near
from dpnb.bench.measurement import OUT_OF_MEMORY, Benchmark
from dpnb.bench.report import Report
from dpnb.bench.sweep import _without_number, sweep
from dpnb.errors import StrategyError
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.ties import TIE
from dpnb.planning.workload import Workload
from dpnb.strategies.vae import VaeTiling
from tests.bench.test_letters import assert_apart, letters_of

WORKLOAD = Workload(height=32, width=32, steps=2)

PLANS: list[Any] = [
    dpnb.VaeTiling(),
    [dpnb.ConditioningCache(), dpnb.QKVFusion()],
    dpnb.SequentialOffload(device="simulated:8GiB/s"),
]


@pytest.fixture(scope="module")
def pipe() -> Any:
    made: Any = dpnb.random_pipeline("tiny-sd")
    made.set_progress_bar_config(disable=True)
    return made


def run(pipe: Any, plans: Any = PLANS, **arguments: Any) -> Report:
    settings = {"repeats": 1, "progress": False, "device": "simulated:8GiB/s", **arguments}
    return sweep(pipe, plans, WORKLOAD, **settings)


@pytest.fixture(scope="module", params=["some", pytest.param("all", marks=pytest.mark.slow)])
def report(request: pytest.FixtureRequest, pipe: Any) -> Report:
    """Of some plans, and of all that are worth trying."""
    return run(pipe, PLANS if request.param == "some" else "all", repeats=2)


@pytest.mark.slow
@pytest.mark.parametrize("report", ["all"], indirect=True)
def test_all_plans_are_measured_beside_their_predictions(report: Report) -> None:
    assert len(report) >= 8
    assert report.measurements[0].plan == frozenset()
    for one in report.finished:
        assert one.predicted is not None
        assert one.peaks == one.predicted.peaks
        assert 0 < (one.seconds_per_step or 0) < (one.seconds or 0)
        assert (one.difference or 0) < 1e-4
    assert len(report.finished) == len(report)


@pytest.mark.slow
def test_the_plans_of_a_table_are_measured(pipe: Any, report: Report) -> None:
    table = report.table.choose(report.table.front[:2])
    measured = sweep(pipe, table, repeats=1, progress=False)
    assert {one.plan for one in measured} == {row.plan for row in table} | {frozenset()}
    assert measured.table is table
    assert measured.of(*table.rows[0].plan).predicted == table.rows[0]
    with pytest.raises(ValueError, match="was not measured"):
        measured.of(dpnb.FreeU())
    with pytest.raises(ValueError, match="a table of plans says what is drawn"):
        sweep(pipe, table, WORKLOAD)


def test_nothing_on_the_front_is_beaten(report: Report) -> None:
    front = report.front
    assert front
    for one in front:
        quicker = [o for o in report.finished if (o.seconds or 0) < (one.seconds or 0)]
        assert all(other.peak >= one.peak for other in quicker)
    for one in report.finished:
        assert any(
            other.peak <= one.peak and (other.seconds or 0) <= (1 + TIE) * (one.seconds or 0)
            for other in front
        )
    assert [one.peak for one in front] == sorted(one.peak for one in front)


def test_what_was_on_is_on_again(pipe: Any) -> None:
    with pipe.strategies.using(dpnb.AttentionSlicing()):
        run(pipe, [dpnb.VaeSlicing()])
        assert pipe.strategies.active == {dpnb.AttentionSlicing()}


@pytest.mark.slow
def test_a_sweep_that_was_broken_off_goes_on(pipe: Any, tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    whole = run(pipe, path=file)
    cut = json.loads(file.read_text())
    kept = cut["measurements"][:2]
    file.write_text(json.dumps({**cut, "measurements": kept}))
    resumed = run(pipe, path=file)
    assert [one.plan for one in resumed] == [one.plan for one in whole]
    assert [one.to_json() for one in resumed][:2] == kept
    assert [one.difference for one in resumed] == [one.difference for one in whole]
    assert [one.peaks for one in resumed] == [one.peaks for one in whole]
    assert Report.load(file) == resumed


def test_the_file_of_another_sweep_is_left_alone(pipe: Any, tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    run(pipe, [], path=file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"is a sweep of .* 2 steps, .* and not of .* 3 steps"):
        sweep(pipe, [], replace(WORKLOAD, steps=3), path=file, device="simulated:8GiB/s")
    assert file.read_bytes() == before


def test_what_was_measured_with_other_weights_or_elsewhere_is_not_mixed(
    pipe: Any, tmp_path: Path
) -> None:
    file = tmp_path / "sweep.json"
    run(pipe, [], path=file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r" \(simulated:8GiB/s\), and not of .* \(simulated:4GiB"):
        run(pipe, [], path=file, device="simulated:4GiB/s")
    pipe.to(torch.bfloat16)
    try:
        with pytest.raises(ValueError, match=r"in float32, .*, and not of .* in bfloat16, "):
            run(pipe, [], path=file)
    finally:
        pipe.to(torch.float32)
    assert file.read_bytes() == before


@pytest.mark.slow
def test_a_plan_that_runs_out_of_memory_is_recorded_and_the_next_one_goes_on(pipe: Any) -> None:
    def exhaust(module: Any, given: Any) -> None:
        if pipe.strategies.find(dpnb.VaeSlicing) is not None:
            raise MemoryError

    handle = pipe.unet.register_forward_pre_hook(exhaust)
    try:
        report = run(pipe, [dpnb.VaeSlicing(), dpnb.VaeTiling()])
    finally:
        handle.remove()
    assert [one.outcome for one in report] == ["finished", OUT_OF_MEMORY, "finished"]
    assert pipe.strategies.active == frozenset()


@pytest.mark.slow
def test_a_plan_that_makes_no_numbers_says_so_and_the_next_one_goes_on(pipe: Any) -> None:
    def spoil(_: Any, __: Any, output: Any) -> Any:
        return output / 0 if pipe.strategies.find(dpnb.VaeSlicing) is not None else None

    handle = pipe.vae.decoder.register_forward_hook(spoil)
    try:
        report = run(pipe, [dpnb.VaeSlicing(), dpnb.VaeTiling()])
    finally:
        handle.remove()
    first, spoilt, last = report
    assert first.is_finished
    assert last.is_finished
    assert spoilt.outcome.startswith("Decoding the picture gave NaN or infinity")
    assert pipe.strategies.active == frozenset()


def test_a_failed_allocation_is_recorded_in_whatever_words(pipe: Any) -> None:
    def exhaust(*_: Any) -> None:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")

    handle = pipe.unet.register_forward_pre_hook(exhaust)
    try:
        measurement, images = Benchmark(pipe, WORKLOAD, 1).measure(frozenset())
        assert Benchmark(pipe, WORKLOAD, 1).draw_with(frozenset()) is None
    finally:
        handle.remove()
    assert measurement.outcome == OUT_OF_MEMORY
    assert images is None


def test_other_errors_end_a_sweep(pipe: Any) -> None:
    handle = pipe.unet.register_forward_pre_hook(lambda *_: 1 / 0)
    try:
        with pytest.raises(ZeroDivisionError):
            run(pipe, [dpnb.VaeSlicing()])
    finally:
        handle.remove()


def test_a_plan_that_cannot_be_switched_on_says_why(pipe: Any) -> None:
    measurement, images = Benchmark(pipe, WORKLOAD, 1).measure(
        frozenset({dpnb.AttentionSlicing(99)})
    )
    assert "slice_size is 99" in measurement.outcome
    assert images is None


def test_several_processes_have_a_device_each() -> None:
    profile = replace(DeviceProfile.from_name("RTX 3060"), torch_device="cuda:1")
    assert _without_number(profile).torch_device == "cuda"
    simulated = replace(profile, torch_device="simulated:8GiB/s")
    assert _without_number(simulated) == simulated


def test_mistakes_are_one_sentence(pipe: Any) -> None:
    with pytest.raises(StrategyError, match="contradict each other"):
        run(pipe, [[dpnb.AttentionSlicing(1), dpnb.AttentionSlicing(2)]])
    with pytest.raises(ValueError, match="repeats is 0"):
        run(pipe, repeats=0)
    with pytest.raises(ValueError, match="none are compared; give quality=True, too"):
        run(pipe, max_difference=0.1)
    table = dpnb.plan(pipe, workload=WORKLOAD, plans=[frozenset()])
    with pytest.raises(ValueError, match=r"give these to dpnb\.plan instead"):
        sweep(pipe, table, approximate=True)
    with pytest.raises(dpnb.AttachError, match="Linear is no pipeline"):
        run(nn.Linear(1, 1))


@pytest.mark.slow
def test_a_report_is_a_table_figures_and_json(report: Report, tmp_path: Path) -> None:
    console = Console(width=160, file=io.StringIO())
    console.print(report)
    assert "measured" in console.file.getvalue()  # type: ignore[attr-defined]
    assert report._repr_html_().count("<tr>") == len(report) + 1
    written = report.write(tmp_path / "report")
    assert {file.name for file in written} == {
        "sweep.json",
        "sweep.csv",
        *(
            f"{name}.{ending}"
            for name in ("memory-against-time", "stages", "prediction")
            for ending in ("svg", "png")
        ),
    }
    assert all(file.stat().st_size > 1000 for file in written if file.suffix != ".csv")
    assert len((tmp_path / "report" / "sweep.csv").read_text().splitlines()) == 1 + len(report)
    assert Report.load(written[0]) == report


def test_nothing_of_a_figure_lies_outside_of_it(report: Report) -> None:
    for name, figure in report.figures().items():
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        box, drawn = figure.bbox_inches, figure.get_tightbbox(canvas.get_renderer())
        assert drawn.x0 >= box.x0, name
        assert drawn.x1 <= box.x1, name
        assert drawn.y0 >= box.y0, name
        assert drawn.y1 <= box.y1, name


def test_the_key_names_the_stages_that_there_were_and_no_others(report: Report) -> None:
    [key] = report.figures()["stages"].legends
    named = {text.get_text().rpartition(" ")[2] for text in key.get_texts()}
    assert named == {*report.finished[0].peaks, "predicted"}


def test_letters_cover_neither_points_nor_one_another(report: Report) -> None:
    figure = report.figures()["memory-against-time"]
    letters = letters_of(figure.axes[0])
    assert len(letters) == len(report.front)
    assert_apart(figure, letters)
    assert b"PNG" in figure._repr_png_()[:8]  # type: ignore[attr-defined]


def axis_words(figure: Any) -> str:
    return " ".join(f"{axes.get_xlabel()} {axes.get_ylabel()}" for axes in figure.axes)


@pytest.mark.parametrize(
    ("longer", "unit"), [(1e-3, "milliseconds"), (100.0, "seconds"), (1e5, "minutes")]
)
def test_an_axis_of_time_has_one_unit_and_round_ticks(
    report: Report, longer: float, unit: str
) -> None:
    slowest = max(one.seconds or 0.0 for one in report.finished)
    slow = replace(
        report,
        measurements=tuple(
            replace(one, seconds=(one.seconds or 0.0) * longer / slowest) for one in report.finished
        ),
    )
    figures = slow.figures()
    for name in ("memory-against-time", "prediction"):
        figures[name].draw_without_rendering()
        assert f"{unit} per picture" in axis_words(figures[name])
        for axes in figures[name].axes:
            labels = [text.get_text() for text in axes.get_yticklabels()]
            assert all(float(label) < 5000 and len(label) <= 5 for label in labels), labels


def test_points_on_one_spot_are_one_mark_with_their_number(report: Report) -> None:
    base = report.finished[0]
    same = [replace(base, plan=frozenset({VaeTiling(tile=8 * n)})) for n in range(4, 9)]
    half = replace(
        base,
        peaks={name: peak // 2 for name, peak in base.peaks.items()},
        seconds=(base.seconds or 0.0) / 2,
    )
    figure = replace(report, measurements=(half, *same)).figures()["memory-against-time"]
    [number] = [text for text in figure.axes[0].texts if text.get_text().isdigit()]
    assert number.get_text() == str(len(same))


@pytest.mark.parametrize("reach", [(1.0, 1.0), (3.0, 0.5)])
def test_groups_of_points_are_no_wider_than_marks(reach: tuple[float, float]) -> None:
    points = [(x * 0.7, y * 0.3) for x in range(6) for y in range(6)]
    groups = group_near(points, reach)
    assert sorted(point for group in groups for point in group) == sorted(points)
    for group in groups:
        assert all(abs(x - group[0][0]) <= reach[0] for x, _ in group)
        assert all(abs(y - group[0][1]) <= reach[1] for _, y in group)
    firsts = [group[0] for group in groups]
    assert all(len(group_near([a, b], reach)) == 2 for a in firsts for b in firsts if a != b)


def test_something_else_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match="not 'dpnb sweep 2'"):
        Report.load(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("nothing")
    with pytest.raises(ValueError, match="is not valid JSON"):
        Report.load(tmp_path / "a.json")
