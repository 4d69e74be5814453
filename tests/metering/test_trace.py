from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from dpnb.errors import DpnbError
from dpnb.metering.reading import Reading
from dpnb.metering.trace import Event, RunTrace, StageSummary, StepTrace, Trace, TraceError
from dpnb.stages import Stage

SECONDS = st.floats(0, 1e9)
BYTES = st.integers(0, 2**50)
MAYBE = st.none() | BYTES
READINGS = st.builds(Reading, SECONDS, BYTES, BYTES, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE)
STAGES = st.sampled_from(["text", "denoising", "decoding"])
STEPS = st.builds(StepTrace, STAGES, st.integers(0, 99), SECONDS, SECONDS, READINGS, st.booleans())
RUNS = st.builds(
    RunTrace,
    start=SECONDS,
    duration=SECONDS,
    outcome=st.sampled_from(["running", "finished", "interrupted", "left", "failed"]),
    error=st.none() | st.text(),
    strategies=st.lists(st.text(), max_size=2).map(tuple),
    begin=READINGS,
    steps=st.lists(STEPS, max_size=4).map(tuple),
)
TRACES = st.builds(
    Trace,
    meter=st.text(),
    label=st.text(),
    clock=st.text(),
    runs=st.lists(RUNS, max_size=2).map(tuple),
    events=st.lists(st.builds(Event, SECONDS, st.text()), max_size=3).map(tuple),
    samples=st.lists(READINGS, max_size=2).map(tuple),
)


def step(
    stage: str, duration: float, peak: int, current: int = 1, complete: bool = True
) -> StepTrace:
    return StepTrace(Stage(stage), 0, 0.0, duration, Reading(0.0, current, peak), complete)


def run(*steps: StepTrace, outcome: str = "finished", error: str | None = None) -> RunTrace:
    return RunTrace(0.0, 9.0, outcome, error, (), Reading(0.0, 100, 100), steps)


FIRST = run(
    step("text", 0.5, 200),
    step("denoising", 3.0, 300),
    step("denoising", 1.0, 500, 40),
    step("denoising", 2.0, 400, 50),
    step("decoding", 4.0, 900, 60),
)
TRACE = Trace("tensors", "bytes of tensors", "the host's clock", (FIRST,))


@settings(deadline=None, max_examples=60)
@given(TRACES)
def test_a_trace_survives_json(trace: Trace) -> None:
    values = trace.to_json()
    text = json.dumps(values)
    assert json.loads(text) == values
    assert Trace.from_json(json.loads(text)) == trace
    assert hash(Trace.from_json(values)) == hash(trace)


def test_a_trace_survives_a_file(tmp_path: Path) -> None:
    TRACE.save(tmp_path / "trace.json")
    assert Trace.load(tmp_path / "trace.json") == TRACE
    assert Trace.load(str(tmp_path / "trace.json")) != replace(TRACE, label="something else")


def test_stages_are_summed_up() -> None:
    stages = TRACE.by_stage()
    assert list(stages) == ["text", "denoising", "decoding"]
    assert stages["denoising"] == StageSummary(
        steps=3, seconds=6.0, seconds_per_step=2.0, current=50, peak=500
    )
    assert FIRST.by_stage() == stages


def test_the_peak_and_what_the_run_has_added() -> None:
    assert (TRACE.peak, TRACE.growth) == (900, 800)
    assert FIRST.steps[1].peak == 300
    assert FIRST.steps[1].current == 1


def test_the_seconds_of_a_step_are_a_median_of_the_completed_ones() -> None:
    stopped = run(step("denoising", 5.0, 1), step("denoising", 99.0, 1, complete=False))
    trace = replace(TRACE, runs=(FIRST, stopped))
    assert trace.seconds_per_step == 2.5
    assert trace.by_stage()["denoising"].steps == 4
    assert trace.by_stage()["denoising"].seconds == 110.0
    assert len(trace.steps) == 7


def test_a_stage_that_was_never_completed_has_no_seconds_per_step() -> None:
    trace = replace(TRACE, runs=(run(step("denoising", 1.0, 7, complete=False)),))
    assert trace.seconds_per_step is None
    assert trace.peak == 7


def test_an_empty_trace_has_no_peak() -> None:
    empty = replace(TRACE, runs=())
    assert (empty.peak, empty.growth, empty.seconds_per_step, empty.by_stage()) == (0, 0, None, {})
    assert run().peak == 100


def shown(trace: Trace) -> str:
    console = Console(width=100, file=StringIO())
    with console.capture() as captured:
        console.print(trace)
    return captured.get()


FULL = replace(
    TRACE,
    runs=(FIRST, run(outcome="failed", error="RuntimeError: no [memory] <left>")),
    events=(Event(1.5, "AttentionSlicing on"),),
)


def test_a_console_shows_stages_with_units_and_what_happened() -> None:
    text = shown(FULL)
    row = next(line for line in text.splitlines() if "denoising" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "denoising",
        "3",
        "6.0 s",
        "2.0 s",
        "500 B",
        "50 B",
    ]
    assert "1.5 s: AttentionSlicing on" in text
    assert "run 2 failed: RuntimeError: no [memory] <left>" in text
    assert "2 runs, peak 900 B, 800 B above the start" in text


def test_a_notebook_shows_the_same_and_nothing_of_it_is_markup() -> None:
    html = FULL._repr_html_()
    assert "<td>denoising</td><td>3</td><td>6.0 s</td><td>2.0 s</td><td>500 B</td>" in html
    assert "<li>1.5 s: AttentionSlicing on</li>" in html
    assert "&lt;left&gt;" in html
    assert "<left>" not in html
    assert "<ul>" not in TRACE._repr_html_()


def changed(**values: Any) -> dict[str, Any]:
    return TRACE.to_json() | values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed(format="dpnb trace 9"), "format is 'dpnb trace 9'; what can be read is"),
        ({}, "format is None"),
        (changed(more=1), "trace has .* it needs meter, label, clock, runs, events, samples"),
        (changed(runs=[{}]), r"trace.runs\[0\] has nothing; it needs start"),
        (changed(label=3), "trace.label is 3; it must be str"),
        (changed(events=[{"time": "soon", "text": ""}]), r"events\[0\].time is 'soon'; .* float"),
        (changed(events={}), "trace.events is {}; it must be list"),
    ],
)
def test_what_is_no_trace_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        Trace.from_json(values)
    assert isinstance(caught.value, DpnbError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("values", [[1], None, "a"])
def test_what_is_no_mapping_is_no_trace(values: Any) -> None:
    with pytest.raises(TraceError, match="is no trace; give what to_json made"):
        Trace.from_json(values)


def test_a_reading_may_lack_what_a_meter_does_not_know_but_nothing_else() -> None:
    values = TRACE.to_json()
    values["runs"][0]["begin"]["free"] = "much"
    with pytest.raises(TraceError, match=r"runs\[0\].begin.free is 'much'; it must be int or None"):
        Trace.from_json(values)


def test_whole_seconds_of_another_writer_are_read() -> None:
    assert Trace.from_json(changed(events=[{"time": 2, "text": ""}])).events == (Event(2.0, ""),)


@pytest.mark.parametrize("text", ["not json", "[1]", ""])
def test_a_file_that_holds_no_trace_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text)
    with pytest.raises(TraceError, match=r"trace.json .* give a file that save wrote"):
        Trace.load(path)
    with pytest.raises(FileNotFoundError):
        Trace.load(tmp_path / "absent.json")
