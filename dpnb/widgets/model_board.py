"""A dashboard whose model is chosen in a field."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import ipywidgets as w
from typing_extensions import override

from dpnb.loading.hub import list_cached_pipelines
from dpnb.pipelines.opening import open_any_pipeline
from dpnb.widgets.background_task import BackgroundTask
from dpnb.widgets.dashboard import Dashboard
from dpnb.widgets.panel import check_request, close_all, status_html, status_line
from dpnb.widgets.run_result import describe_error
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.state import Request
from dpnb.widgets.stylesheet import stylesheet
from dpnb.widgets.waiting import PAUSE

INVITATION = "Choose a model, and press Load."


class ModelBoard(w.VBox):  # type: ignore[misc]
    """A field for a model, and below it the dashboard of the one that is loaded.

    Args:
        place: what is loaded first: a folder, a file, or a name on the hub or in the package.
        request: what the fields of a dashboard show at first.

    Attributes:
        board: the dashboard; `None` before anything is loaded.
        offering: the look for models that are here already; it goes on in the background.

    Raises:
        TypeError: `request` is none.
        ValueError: `place` is empty.
    """

    def __init__(self, place: str | Path | None = None, request: Request | None = None) -> None:
        check_request(request)
        self._request = request
        self._lock = threading.RLock()
        self._is_loading = self._is_closed = False
        self.board: Dashboard | None = None
        self.place = w.Combobox(
            description="Model", placeholder="a folder, a file, or owner/name", options=(),
            continuous_update=False, layout={"flex": "1 1 240px", "width": "auto"},
        )  # fmt: skip
        self.go = w.Button(description="Load", tooltip="Load this model in place of the present")
        self.message = status_line()
        self.message.value = status_html(INVITATION)
        line = w.Box([self.place, self.go])
        line.add_class("dpnb-flow")
        card = w.VBox([line, self.message])
        card.add_class("dpnb-card")
        looks = w.HTML(stylesheet(), layout={"display": "none"})
        self._fixed = looks, card
        super().__init__(self._fixed)
        self.add_class("dpnb")
        self.go.on_click(lambda _: self._load_or_show_error())
        self.offering = BackgroundTask(self._offer)
        if place is not None:
            self._load_first(str(place))

    def load(self, name: str) -> BackgroundTask:
        """Load a model, on a thread of its own; its dashboard then takes the former's place.

        Where that fails, the former stays.

        Args:
            name: a folder, a file, or a name on the hub or in the package.

        Returns:
            What waits for the end with its `wait`, and raises what loading has failed with.

        Raises:
            SessionError: something is drawn or loaded now, or the board was closed.
            ValueError: `name` is empty.
        """
        name = name.strip()
        if not name:
            raise ValueError("There is no model's name; write a folder, a file, or owner/name.")
        with self._lock:
            self._refuse_while_busy()
            self._is_loading = self.go.disabled = True
            self._say(f"Loading {name} …", "wait")
        try:
            return BackgroundTask(partial(self._load, name))
        except RuntimeError as failure:
            self._end(describe_error(failure), "error")
            raise

    def close(self) -> None:
        """Take it away, and let the model go; what is still being loaded is dropped."""
        with self._lock:
            self._is_closed, self.board = True, None
        for child in self.children:
            close_all(child)
        close_all(self, panel=super())

    @override
    def __repr__(self) -> str:
        board = self.board
        name = "no model" if board is None else board.session.pipe.class_name
        return f"{type(self).__name__} of {name}"

    def _load_first(self, name: str) -> None:
        self.place.value = name
        try:
            self.load(name)
        except BaseException:
            self.close()
            raise

    def _refuse_while_busy(self) -> None:
        if self._is_closed:
            raise SessionError("This board was closed; make another with dpnb.dashboard().")
        if self._is_loading:
            raise SessionError("A model is being loaded; try again when it is there.")
        if self._is_drawing:
            raise SessionError("A picture is being drawn; wait for its end, or stop it first.")

    @property
    def _is_drawing(self) -> bool:
        return self.board is not None and self.board.session.is_drawing

    def _load_or_show_error(self) -> None:
        try:
            self.load(self.place.value)
        except (SessionError, ValueError) as error:
            self._say(str(error), "error")

    def _load(self, name: str) -> None:
        try:
            pipe = open_any_pipeline(name)
            pipe.set_progress_bar_config(disable=True)
            with self._lock:
                if self._is_closed:
                    return
                board = Dashboard(pipe, self._request)
        except BaseException as failure:
            self._end(f"{name} is not loaded: {describe_error(failure)}", "error")
            raise
        self._show(board)
        self._end(f"{name} is loaded.")

    def _show(self, board: Dashboard) -> None:
        """Let a dashboard take the former's place, once what that draws is over."""
        while self._is_drawing and not self._is_closed:
            self._say("Loaded; waiting for the run to end …", "wait")
            time.sleep(PAUSE)
        with self._lock:
            if self._is_closed:
                board.close()
                return
            former, self.board = self.board, board
            self.children = (*self._fixed, board)
        if former is not None:
            former.close()

    def _end(self, words: str, tone: str = "plain") -> None:
        with self._lock:
            self._is_loading = False
            if not self._is_closed:
                self.go.disabled = False
                self._say(words, tone)

    def _say(self, words: str, tone: str = "plain") -> None:
        with self._lock:
            if not self._is_closed:
                self.message.value = status_html(words, tone)

    def _offer(self) -> None:
        found = list_cached_pipelines()
        with self._lock:
            if not self._is_closed:
                self.place.options = found
