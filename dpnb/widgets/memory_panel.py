"""The panel that draws memory and time of a run while it goes on."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as w

from dpnb.metering.reading import MeterError, Reading
from dpnb.metering.trace import Trace
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.chart_frames import in_two_sizes
from dpnb.widgets.charts import run_chart
from dpnb.widgets.panel import Panel, heading, status_html, status_line
from dpnb.widgets.panel_meters import METERS, meters_on, panel_meter

EMPTY = in_two_sizes(
    lambda frame: (
        f'<div class="dpnb-empty dpnb-nothing" style="aspect-ratio:{frame.width}/{frame.height}">'
        "Memory and the time of every step are drawn here while a picture is. A line marks every "
        "switch where it took effect.</div>"
    )
)


class MemoryPanel(Panel):
    """Curves of memory and bars of time, with the numbers that matter in words.

    Args:
        pipe: the pipeline.
    """

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        state, device = self.session.run_state, self.session.pipe.execution_device
        names = meters_on(device)
        self.meter = w.Dropdown(
            description="Measure",
            options=[(METERS[name], name) for name in dict.fromkeys((state.meter, *names))],
            value=state.meter,
            style={"description_width": "auto"},
        )
        self.numbers, self.chart, self.message = w.HTML(), w.HTML(), status_line()
        self.meter.observe(lambda change: self._choose(change["new"]), "value")
        self.meter.add_class("dpnb-measure")
        top = w.HBox([heading("Memory and time"), self.meter])
        top.layout.justify_content = "space-between"
        top.layout.flex_flow = "row wrap"
        self.fill([top, self.message, self.numbers, self.chart])
        self.watch(state, "trace", lambda _: self.show())
        self.watch(state, "meter", lambda _: self.meter.set_trait("value", state.meter))
        self.show()

    def show(self) -> None:
        """Draw what has been measured so far."""
        state = self.session.run_state
        trace = state.trace
        if trace is None or not trace.runs:
            reading = panel_meter(self.session.pipe, state.meter).read()
            self.numbers.value = format_memory(reading, None)
            self.chart.value = EMPTY
            return
        left = state.progress.seconds_left if state.phase != "idle" else None
        horizon = None if left is None else trace.runs[-1].duration + left
        self.numbers.value = format_memory(latest_reading(trace), trace)
        self.chart.value = in_two_sizes(lambda frame: run_chart(trace, horizon, frame))

    def _choose(self, name: str) -> None:
        try:
            self.session.measure_with(name)
            self.message.value = ""
        except (MeterError, ValueError) as error:
            self.meter.value = self.session.run_state.meter
            self.message.value = status_html(str(error), "error")


def latest_reading(trace: Trace) -> Reading:
    """The last reading of the last run."""
    run = trace.runs[-1]
    readings = [run.begin, *(step.reading for step in run.steps[-1:]), *trace.samples[-1:]]
    return max(readings, key=lambda reading: reading.time)


def format_memory(reading: Reading, trace: Trace | None) -> str:
    """Memory in numbers, and how much room is left, as HTML.

    Args:
        reading: memory now.
        trace: of the run, where there is one.
    """
    weights = reading.weights
    if trace is None:
        pairs = [("in use", format_bytes(reading.current))]
    else:
        made = trace.growth if weights is None else max(trace.peak - weights, 0)
        pairs = [("peak of this run", format_bytes(trace.peak))]
        pairs.append(("made by the run", format_bytes(made)))
    if weights is not None:
        pairs.append(("weights", format_bytes(weights)))
    if reading.process is not None:
        pairs.append(("this process", format_bytes(reading.process)))
    if reading.reserved is not None:
        pairs.append(("reserved by torch", format_bytes(reading.reserved)))
    if trace is not None and (seconds := trace.seconds_per_step) is not None:
        pairs.append(("per step", format_seconds(seconds)))
    cells = "".join(f"<div><b>{html.escape(v)}</b><span>{name}</span></div>" for name, v in pairs)
    return f'<div class="dpnb-figures">{cells}</div>{_memory_bar(reading)}'


def _memory_bar(reading: Reading) -> str:
    """A bar of all memory: ours, that of others, and what is free."""
    if not reading.limit or reading.others is None:
        return ""
    held = reading.reserved or reading.process or reading.current
    ours, others = 100 * held / reading.limit, 100 * reading.others / reading.limit
    free = f"{format_bytes(reading.free or 0)} of {format_bytes(reading.limit)} are free"
    label = f"{free}: this process has {ours:.0f} %, others {others:.0f} %"
    is_tight = ours + others > 90
    colour = "var(--dpnb-red)" if is_tight else "var(--dpnb-blue)"
    warning = " Little room is left." if is_tight else ""
    return (
        f'<div class="dpnb-bar" role="img" aria-label="{label}" title="{label}">'
        f'<div style="width:{ours:.1f}%;background:{colour}"></div>'
        f'<div style="width:{others:.1f}%;background:var(--dpnb-soft);opacity:.5"></div></div>'
        f'<div class="dpnb-note" style="margin-left:0">{label}.{warning}</div>'
    )
