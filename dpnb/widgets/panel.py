"""The base of all panels, and the parts that they are built of."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import NoneType
from typing import Any, TypeVar

import ipywidgets as w
from traitlets import MetaHasTraits
from typing_extensions import override

from dpnb.widgets.session import Session
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.snapshot import Shown, draw_snapshot
from dpnb.widgets.state import Request
from dpnb.widgets.still_output import StillOutput
from dpnb.widgets.stylesheet import keyboard, stylesheet

VIEW = "application/vnd.jupyter.widget-view+json"


P = TypeVar("P", bound="Panel")


class SelfClosing(MetaHasTraits):
    """The class of panels: one that cannot be made is closed, with all that it has begun.

    A panel has `_cleanup`, what is to be done when it is closed, and `_is_closed` from the first.
    """

    @override
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kind: Any = self
        panel = kind.__new__(kind, *args, **kwargs)
        panel._cleanup, panel._is_closed = ExitStack(), False
        try:
            panel.__init__(*args, **kwargs)
        except BaseException:
            panel.close()
            raise
        return panel


class Panel(w.VBox, metaclass=SelfClosing):  # type: ignore[misc]
    """A part of the dashboard that can stand alone.

    It shows itself as a cell's value and may be put into any other box. `close` takes it away and
    forgets the pipeline.

    Args:
        pipe: whose panel it is; all panels of a pipeline show the same.
    """

    _cleanup: ExitStack
    _is_closed: bool

    def __init__(self, pipe: Any) -> None:
        self.session = Session.of(pipe)
        self._cleanup.callback(self.session.close)
        self._still = StillOutput(self.session)
        self._cleanup.callback(self._still.close)
        super().__init__()
        self.add_class("dpnb")

    def fill(self, children: Sequence[w.Widget]) -> None:
        """Show these."""
        hidden = {"display": "none"}
        looks = w.HTML(stylesheet(), layout=hidden), w.HTML(keyboard(), layout=hidden)
        self.children = (*looks, *children)

    def own(self, panel: P) -> P:
        """A panel that is closed with this one."""
        self._cleanup.callback(panel.close)
        return panel

    def refuse_when_closed(self) -> None:
        """Say that nobody would see what is drawn from here.

        Raises:
            SessionError: this was closed.
        """
        if self._is_closed:
            raise SessionError("This panel was closed; make another with dpnb.dashboard(pipe).")

    def watch(self, state: Any, names: str | list[str], handler: Callable[[Any], None]) -> None:
        """Call `handler` when a trait of `state` changes, until this is closed.

        It holds the session's lock: what it reads does not change meanwhile, and no two threads
        write to a panel at once.
        """

        def locked(change: Any) -> None:
            with self.session.lock:
                handler(change)

        state.observe(locked, names)
        self._cleanup.callback(state.unobserve, locked, names)

    def close(self) -> None:
        """Take the panel away; with a pipeline's last panel, a run that one of them began ends."""
        self._is_closed = True
        self._cleanup.close()
        for child in self.children:
            close_all(child)
        close_all(self, panel=super())

    def snapshot(self) -> Any:
        """A still picture of the last run, to end a notebook with: a `PIL.Image`."""
        return draw_snapshot(Shown.of(self.session))

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__} of {self.session.pipe.class_name}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return self._describe_view(with_picture=True)

    def _ipython_display_(self, **kwargs: Any) -> None:
        from IPython.display import display

        is_beside = self._still.is_possible and self.comm is not None
        display(self._describe_view(not is_beside), raw=True)  # type: ignore[no-untyped-call]
        if is_beside:
            self._still.show()

    def _describe_view(self, with_picture: bool) -> dict[str, Any]:
        """What tells a front end which widget to show, and what it shows where none is live."""
        data: dict[str, Any] = {"text/plain": repr(self)}
        if self.comm is not None:
            data[VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        if with_picture and self.session.run_state.trace is not None:
            data["image/png"] = base64.b64encode(self.snapshot()._repr_png_()).decode()
        return data


def check_request(request: Any) -> None:
    """Refuse what is no request.

    Raises:
        TypeError: it is neither one nor `None`.
    """
    if not isinstance(request, (Request, NoneType)):
        words = request if isinstance(request, str) else "a red apple"
        raise TypeError(
            f"request is {request!r}; give a request, such as dpnb.Request({words!r}), or none."
        )


def close_all(widget: w.Widget, panel: Any = None) -> None:
    """Close a widget, and everything that belongs to it."""
    if isinstance(widget, Panel) and panel is None:
        widget.close()
        return
    if isinstance(widget, w.Box):
        for child in widget.children:
            close_all(child)
    for name in ("layout", "style"):
        if widget.has_trait(name) and isinstance(part := getattr(widget, name), w.Widget):
            part.close()
    widget.unobserve_all()
    (panel or widget).close()


def heading(text: str) -> w.HTML:
    """The title of a panel."""
    return w.HTML(f'<h3 class="dpnb-heading">{html.escape(text)}</h3>')


def status_line(kind: str = "dpnb-status") -> w.HTML:
    """A line that screen readers read out when it changes; `status_html` makes its value."""
    line = w.HTML()
    line.add_class(kind)
    return line


def status_html(text: str, tone: str = "plain") -> str:
    """The value of a `status_line`; `tone` is "plain", "wait" or "error"."""
    role = "alert" if tone == "error" else "status"
    return (
        f'<div class="dpnb-said dpnb-{tone}" role="{role}" aria-live="polite">'
        f"{html.escape(text)}</div>"
    )


def hidden_part(
    rare: Sequence[w.Widget], summary: str, name: str | None = None
) -> tuple[w.ToggleButton, w.VBox]:
    """What few people need, behind a button; both are to be shown.

    Args:
        rare: what is hidden.
        summary: what it is, in a few words.
        name: on the button; by default that there is more.
    """
    box = w.VBox(rare, layout={"display": "none"})
    box.add_class("dpnb-settings")
    button = w.ToggleButton(description=name or "More", tooltip=summary, layout={"width": "auto"})
    button.add_class("dpnb-more")

    def reveal(change: Any) -> None:
        box.layout.display = None if change["new"] else "none"
        button.description = name or ("Less" if change["new"] else "More")

    button.observe(reveal, "value")
    return button, box
