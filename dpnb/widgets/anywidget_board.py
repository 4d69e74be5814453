"""One anywidget that shows a session: the same states as the panels, and a script for the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from typing_extensions import override

from dpnb.errors import DpnbError
from dpnb.strategies.catalog import catalog_for
from dpnb.strategies.settings import strategy_label
from dpnb.strategies.strategy import Strategy
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.browser_images import encode_png, lay_out_images, make_thumbnail
from dpnb.widgets.charts import run_chart
from dpnb.widgets.history_row import SIDE
from dpnb.widgets.job import Job
from dpnb.widgets.memory_panel import format_memory, latest_reading
from dpnb.widgets.panel import SelfClosing, check_request
from dpnb.widgets.run_words import describe_plan
from dpnb.widgets.session import Session
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.snapshot import describe_in_short, name_outcome
from dpnb.widgets.state import FinishedRun, Request
from dpnb.widgets.strategy_panel import BADGES
from dpnb.widgets.stylesheet import rules

SCRIPT = Path(__file__).with_name("anywidget_board.js")

FIELDS = ("prompt", "negative_prompt", "steps", "guidance_scale", "width", "height", "seed")
"""Of a request, those that a person sets here."""


class AnywidgetBoard(anywidget.AnyWidget, metaclass=SelfClosing):  # type: ignore[misc]
    """What `dpnb.marimo_dashboard` makes.

    What people do comes in as `command`; everything else goes out, and is replaced as a whole.

    Args:
        pipe: the pipeline.
        request: what the fields show at first.
    """

    _esm = SCRIPT
    _css = rules()

    command = traitlets.Dict().tag(sync=True)
    """What somebody asks for: a `"name"`, what it needs, and a number that differs each time."""

    fields = traitlets.Dict().tag(sync=True)
    """What the fields show, by the names of a request."""

    run = traitlets.Dict().tag(sync=True)
    """How far the run is: `"phase"`, `"message"`, `"error"`, `"share"` of 100."""

    picture = traitlets.Dict().tag(sync=True)
    """The picture's `"address"`, empty before the first one, and `"words"` for it."""

    chart = traitlets.Unicode().tag(sync=True)
    """Memory and time, as HTML."""

    switches: Any = traitlets.List().tag(sync=True)
    """Each strategy: `"name"`, `"label"`, `"badge"`, `"words"`, whether it `"is_on"`,
    `"is_barred"` or `"is_waiting"`."""

    said = traitlets.Dict().tag(sync=True)
    """What became of the last switch: `"words"`, and whether it `"is_refused"`."""

    history: Any = traitlets.List().tag(sync=True)
    """The runs that are over, the last one first."""

    _cleanup: ExitStack
    _is_closed: bool

    def __init__(self, pipe: Any, request: Request | None = None) -> None:
        self.session = session = Session.of(pipe)
        self._cleanup.callback(session.close)
        check_request(request)
        self._request = (request or session.example).with_defaults(session.pipe)
        networks = session.pipe.strategies.networks
        self._kinds = {kind.__name__: kind for kind in catalog_for(networks)}
        super().__init__(fields=self._list_fields(self._request))
        run, strategies = session.run_state, session.strategy_state
        self._watch(run, ["phase", "message", "error", "progress"], self._show_run)
        self._watch(run, ["picture", "pictured", "is_preview"], self._show_picture)
        self._watch(run, ["trace"], self._show_chart)
        self._watch(run, ["history"], self._show_history)
        self._watch(run, ["restored"], self._show_restored)
        self._watch(strategies, ["revision"], self._show_switches)
        self.observe(self._obey, "command")

    def draw(self) -> Job:
        """Begin to draw what the fields say; wait for it with the `wait` of what is returned.

        Raises:
            SessionError: a run is going on, or this was closed.
            ValueError: something about the request is impossible.
            TypeError: likewise.
        """
        if self._is_closed:
            raise SessionError(
                "This board was closed; make another with dpnb.marimo_dashboard(pipe)."
            )
        job = self.session.start(self._read(self.fields))
        self._request = replace(self._request, scheduler=None, scheduler_settings=None)
        return job

    @override
    def close(self) -> None:
        """Take it away; with a pipeline's last panel, a run that one of them began ends."""
        self._is_closed = True
        self._cleanup.close()
        self.unobserve_all()
        super().close()

    def _watch(self, state: Any, names: list[str], show: Any) -> None:
        """Call `show` now, and with the session's lock whenever one of these traits changes."""

        def locked(_: Any) -> None:
            with self.session.lock:
                show()

        state.observe(locked, names)
        self._cleanup.callback(state.unobserve, locked, names)
        locked(None)

    def _list_fields(self, request: Request) -> dict[str, Any]:
        """The fields that the pipeline's call takes, and their values in `request`."""
        signature, plain = (
            self.session.pipe.call_signature,
            request.with_defaults(self.session.pipe),
        )
        is_taken = {
            "steps": signature.steps is not None,
            "guidance_scale": signature.guidance is not None,
            "seed": True,
        }
        names = (name for name in FIELDS if is_taken.get(name, name in signature))
        return {name: getattr(plain, name) for name in names}

    def _read(self, fields: Mapping[str, Any]) -> Request:
        given = {name: fields[name] for name in FIELDS if name in fields}
        return replace(self._request, **given)

    def _obey(self, change: Any) -> None:
        command, session = change["new"], self.session
        try:
            match command.get("name"):
                case "generate":
                    self.fields = {**self.fields, **command["fields"]}
                    self.draw()
                case "stop":
                    session.stop()
                case "switch" if command["is_on"]:
                    session.enable(self._kinds[command["kind"]]())
                case "switch":
                    session.disable(self._kinds[command["kind"]])
                case "restore":
                    self._restore(int(command["number"]))
        except (DpnbError, ValueError, TypeError) as error:
            session.run_state.error = str(error)

    def _restore(self, number: int) -> None:
        """Ask for a run again, with what was switched on then."""
        for run in self.session.run_state.history:
            if run.number == number:
                self.session.use(run.plan)
                self.session.restore(run.wanted)

    def _show_run(self) -> None:
        state, progress = self.session.run_state, self.session.run_state.progress
        share = round(100 * progress.done / progress.total) if progress.total else 0
        self.run = {
            "phase": state.phase,
            "message": state.message,
            "error": state.error,
            "share": share,
        }

    def _show_picture(self) -> None:
        state = self.session.run_state
        what = "Preview of" if state.is_preview else "Picture of"
        words = "what a cell asked for" if state.pictured is None else state.pictured.prompt
        self.picture = {"address": _address(state.picture), "words": f"{what} {words}"}

    def _show_chart(self) -> None:
        trace = self.session.run_state.trace
        if trace is not None and trace.runs:
            self.chart = format_memory(latest_reading(trace), trace) + run_chart(trace)

    def _show_history(self) -> None:
        runs = self.session.run_state.history
        known = {row["number"]: row for row in self.history}
        self.history = [known.get(run.number) or _describe_run(run) for run in reversed(runs)]

    def _show_restored(self) -> None:
        if (wanted := self.session.run_state.restored) is not None:
            self._request = wanted.with_defaults(self.session.pipe)
            self.fields = self._list_fields(wanted)

    def _show_switches(self) -> None:
        state = self.session.strategy_state
        self.switches = [self._describe_switch(name, kind) for name, kind in self._kinds.items()]
        self.said = {"words": state.message, "is_refused": state.is_refused}

    def _describe_switch(self, name: str, kind: type[Strategy]) -> dict[str, Any]:
        state = self.session.strategy_state
        chosen, present = (
            next((one for one in plan if type(one) is kind), None)
            for plan in (state.wanted, state.active)
        )
        draft = chosen or present or kind()
        reason = None if chosen or present else self.session.obstacle(draft)
        words, tone = BADGES[draft.effect]
        return {
            "name": name,
            "label": strategy_label(kind),
            "badge": words,
            "tone": tone,
            "words": reason or kind.summary(),
            "is_on": chosen is not None,
            "is_barred": reason is not None,
            "is_waiting": chosen != present,
        }


def _describe_run(run: FinishedRun) -> dict[str, Any]:
    """A row of the history."""
    done, each = run.trace.runs[0], run.trace.seconds_per_step
    pictures = run.pictures
    small = encode_png(make_thumbnail(lay_out_images(pictures), SIDE)) if pictures else b""
    facts = [
        format_seconds(done.duration) if done.outcome == "finished" else name_outcome(done.outcome),
        *([] if each is None else [f"{format_seconds(each)} per step"]),
        f"peak {format_bytes(done.peak)}",
    ]
    return {
        "number": run.number,
        "address": _address(small),
        "asked": describe_in_short(run.request),
        "on": describe_plan(run.used),
        "facts": ", ".join(facts),
    }


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else ""
