from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from dpnb.metering.reading import Reading
from dpnb.metering.trace import Event, RunTrace, StepTrace, Trace
from dpnb.stages import Stage
from dpnb.widgets.chart_frames import LETTER, NARROW, WIDE, Frame, thin, ticks, time_ticks
from dpnb.widgets.charts import comparison_chart, describe_run_chart, run_chart
from dpnb.widgets.memory_panel import format_memory, latest_reading

MIB = 1 << 20
SVG = "{http://www.w3.org/2000/svg}"


def reading(time: float, mib: float, **more: int) -> Reading:
    return Reading(time, round(mib * MIB), round(mib * MIB), **more)


def trace(steps: int = 3, limit: int | None = None, event: str = "A <b> on") -> Trace:
    """Text for a second, steps of two seconds, decoding for a second."""
    spans = [("text", 0, 0.0, 1.0), *[("denoising", i, 1.0 + 2 * i, 2.0) for i in range(steps)]]
    spans.append(("decoding", 0, 1.0 + 2 * steps, 1.0))
    done = tuple(
        StepTrace(Stage(stage), index, start, length, reading(start + length, 100 + 10 * place))
        for place, (stage, index, start, length) in enumerate(spans)
    )
    begin = Reading(0.0, 90 * MIB, 90 * MIB, limit=limit)
    run = RunTrace(0.0, 2.0 + 2 * steps, "finished", None, (), begin, done)
    samples = tuple(reading(0.1 * i, 95) for i in range(5))
    return Trace("host", "resident <bytes>", "clock", (run,), (Event(3.0, event),), samples)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in parsed(svg).iter("text")]


def test_steps_that_reused_something_are_light_and_told() -> None:
    steps = tuple(
        StepTrace(Stage.DENOISING, at, float(at), 1.0, reading(at + 1.0, 100), reused=float(at % 2))
        for at in range(5)
    )
    run = RunTrace(0.0, 5.0, "finished", None, (), reading(0.0, 50), steps)
    watched = Trace("live", "weights", "the clock", (run,))
    chart = run_chart(watched)
    assert chart.count('class="dpnb-reused"') == 2
    assert "denoising step 2: 1.0 s, reused" in chart
    assert "Reused in 2 of 5 steps." in describe_run_chart(watched)
    assert list(watched._remarks()) == ["run 1: reused in 2 of 5 steps"]
    idle = replace(run, steps=tuple(replace(step, reused=0.0) for step in steps))
    assert "Nothing was reused." in describe_run_chart(replace(watched, runs=(idle,)))
    assert Trace.from_json(watched.to_json()) == watched


def test_a_chart_has_a_band_for_each_stage_and_a_bar_for_each_step() -> None:
    titles = [node.text or "" for node in parsed(run_chart(trace())).iter("title")]
    assert {"text", "denoising", "decoding"} <= set(titles)
    assert "denoising step 3: 2.0 s" in titles
    assert sum(title.startswith("peak of") for title in titles) == 5


def test_a_switch_is_marked_with_its_name_where_it_took_effect() -> None:
    root = parsed(run_chart(trace()))
    [mark] = [g for g in root.iter("g") if g.get("class") == "dpnb-mark"]
    [line] = mark.iter("line")
    bars = [g for g in root.iter("g") if (g.findtext("title") or "") == "denoising step 2: 2.0 s"]
    left = float(bars[0].find("rect").get("x", ""))  # type: ignore[union-attr]
    assert float(line.get("x1", "")) == pytest.approx(left - 0.5, abs=0.2)
    assert mark.findtext("text") == "A <b> on"


def test_the_label_says_the_numbers() -> None:
    label = parsed(run_chart(trace())).get("aria-label")
    assert label == describe_run_chart(trace())
    assert "denoising 6.0 s with a peak of 130 MiB" in label
    assert "A <b> on at 3.0 s" in label


def test_the_limit_is_drawn_where_it_is_near() -> None:
    assert "limit" in texts(run_chart(trace(limit=120 * MIB)))
    assert "limit" not in texts(run_chart(trace(limit=900 * MIB)))


def test_the_axis_reaches_as_far_as_the_run_is_expected_to() -> None:
    assert "8 s" in texts(run_chart(trace()))
    assert "15 s" in texts(run_chart(trace(), horizon=16.0))


@pytest.mark.parametrize("frame", [WIDE, NARROW])
def test_words_stay_within_the_chart(frame: Frame) -> None:
    names = [
        Event(float(at), "A strategy with a long name (budget 12.5 MiB) on") for at in (1, 4, 7)
    ]
    chart = parsed(run_chart(replace(trace(), events=tuple(names)), frame=frame))
    for word in chart.iter("text"):
        width, at = LETTER * len(word.text or ""), float(word.get("x", ""))
        left = at - {"start": 0.0, "middle": 0.5, "end": 1.0}[word.get("text-anchor", "")] * width
        assert left >= -8, word.text
        assert left + width <= frame.width + 8, word.text


def test_weights_are_a_band_of_their_own() -> None:
    steps = (
        StepTrace(Stage.TEXT, 0, 0.0, 1.0, reading(1.0, 100, weights=80 * MIB)),
        StepTrace(Stage.DENOISING, 0, 1.0, 1.0, reading(2.0, 60, weights=40 * MIB)),
    )
    run = RunTrace(0.0, 2.0, "finished", None, (), reading(0.0, 80, weights=80 * MIB), steps)
    chart = run_chart(Trace("live", "bytes", "clock", (run,)))
    [band] = [g for g in parsed(chart).iter("g") if g.get("class") == "dpnb-weights"]
    assert "weights 40.0 MiB" in texts(chart)
    points = [tuple(map(float, p.split(","))) for p in band[1].get("points", "").split()]
    levels = [y for _, y in points[1:-1]]
    assert levels[0] < levels[-1] < points[0][1] == points[-1][1]
    assert "weights" not in texts(run_chart(trace()))


def test_an_axis_that_does_not_begin_at_zero_says_so() -> None:
    steps = (StepTrace(Stage.TEXT, 0, 0.0, 1.0, reading(1.0, 500)),)
    run = RunTrace(0.0, 1.0, "finished", None, (), reading(0.0, 499), steps)
    words = texts(run_chart(Trace("host", "bytes", "clock", (run,))))
    assert any(re.search(r"axis from 4\d\d MiB", word) for word in words)
    assert not any("axis from" in word for word in texts(run_chart(trace())))


@pytest.mark.parametrize("end", [3e-5, 0.004, 0.823, 1.4, 8.0, 59.0, 61.0, 600.0, 4000.0, 2e5])
def test_times_on_an_axis_are_round_and_in_one_unit(end: float) -> None:
    found = time_ticks(end, 5)
    assert 1 <= len(found) <= 5
    assert len({label.split()[1] for _, label in found}) == 1
    for place, (seconds, label) in enumerate(found, start=1):
        assert seconds <= end * (1 + 1e-6)
        assert len(label.split()[0]) <= 6
        assert seconds == pytest.approx(found[0][0] * place)


def test_a_run_that_has_done_nothing_yet_can_be_drawn() -> None:
    run = RunTrace(0.0, 0.0, "running", None, (), reading(0.0, 90), ())
    assert "nothing yet" in run_chart(Trace("host", "bytes", "clock", (run,)))


def test_reserved_memory_is_a_line_of_its_own() -> None:
    steps = (StepTrace(Stage.TEXT, 0, 0.0, 1.0, reading(1.0, 100, reserved=130 * MIB)),)
    run = RunTrace(0.0, 1.0, "finished", None, (), reading(0.0, 90), steps)
    assert "reserved" in texts(run_chart(Trace("cuda", "bytes", "clock", (run,))))


def test_thinning_keeps_the_extremes() -> None:
    points = [(float(i), float(i % 7)) for i in range(5000)]
    points[2345] = (2345.0, 99.0)
    points[3456] = (3456.0, -99.0)
    few = thin(points, 200)
    assert len(few) <= 200
    assert few == sorted(few)
    assert {points[2345], points[3456]} <= set(few)
    assert thin(points[:5]) == points[:5]


@pytest.mark.parametrize(("low", "high"), [(0, 3), (5e8, 5.1e8), (0, 80e9), (1e6, 1e6 + 5000)])
def test_ticks_are_round_and_few(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low <= tick <= high for tick in found)
    gaps = {round(b - a) for a, b in pairwise(found)}
    assert len(gaps) == 1


def test_a_comparison_has_a_bar_for_each_number() -> None:
    svg = comparison_chart([("1: plain", 100 * MIB, 2.0), ("2: <sliced>", 50 * MIB, None)])
    widths = [float(rect.get("width", "")) for rect in parsed(svg).iter("rect")]
    assert len(widths) == 3
    assert widths[2] == pytest.approx(widths[0] / 2, abs=0.1)
    assert {"100 MiB", "50.0 MiB", "2.0 s"} <= set(texts(svg))


def test_numbers_say_peak_headroom_and_others() -> None:
    now = reading(1.0, 100, free=60 * MIB, limit=1000 * MIB, others=840 * MIB)
    words = re.sub(r"<[^>]+>", " ", format_memory(now, trace()))
    assert "140 MiB peak of this run" in words.replace("  ", " ")
    assert "60.0 MiB of 1000 MiB are free" in words
    assert "Little room is left" in words
    assert "Little room" not in format_memory(reading(1.0, 100), None)


def test_the_latest_reading_is_the_last_in_time() -> None:
    assert latest_reading(trace()).time == 8.0
