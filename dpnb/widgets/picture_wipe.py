"""Two pictures over each other, of which a slider shows more of the one or of the other."""

from __future__ import annotations

import base64
import html
import threading
from collections.abc import Callable
from itertools import starmap
from uuid import uuid4

import ipywidgets as w

from dpnb.fidelity.difference import PictureDifference, compare
from dpnb.widgets.background_task import BackgroundTask
from dpnb.widgets.browser_images import encode_png, lay_out_images
from dpnb.widgets.picture_judge import Pair, can_compare
from dpnb.widgets.run_result import describe_error
from dpnb.widgets.run_words import request_in_words
from dpnb.widgets.state import FinishedRun

Found = Callable[[FinishedRun, FinishedRun, PictureDifference], None]


class PictureWipe(w.VBox):  # type: ignore[misc]
    """The pictures of two runs: side by side, and one wiped over the other.

    The slider sends a single rule of style; the pictures are sent once.

    Args:
        found: is told how far two runs differ, once that was asked for.

    Attributes:
        place: how much is shown of the first one, of 100.
        where: shows where they differ, once it is pressed.
    """

    def __init__(self, found: Found | None = None) -> None:
        self._name = f"dpnb-wipe-{uuid4().hex}"
        self._found, self._lock = found, threading.Lock()
        self._pictures, self._rule = w.HTML(), w.HTML(layout={"display": "none"})
        self.place = w.IntSlider(
            value=50, min=0, max=100, readout=False, description="Wipe",
            style={"description_width": "auto"}, layout={"width": "min(100%, 26em)"},
        )  # fmt: skip
        self.place.observe(lambda _: self._cut(), "value")
        self.where = w.Button(description="Where they differ", layout={"width": "auto"})
        self.where.tooltip = "A map of FLIP's error, with its scale"
        self.where.on_click(lambda _: self._show_where())
        self._beside, self._note = "", w.HTML()
        self._shown: Pair | None = None
        self._compared: Pair | None = None
        self._task: BackgroundTask | None = None
        parts = [self._rule, self._pictures, self.place, self.where, self._note]
        super().__init__(parts, layout={"display": "none"})

    def show(self, one: FinishedRun, other: FinishedRun) -> None:
        """Compare what two runs have drawn; nothing is shown where one has drawn nothing."""
        if not (one.pictures and other.pictures):
            self.hide()
            return
        left, right = _picture(one), _picture(other)
        over = f'<div class="dpnb-over" id="{self._name}">{right}{left}</div>'
        figures = [
            (left, _title(one)),
            (right, _title(other)),
            (over, f"{_title(one)} over {_title(other)}"),
        ]
        with self._lock:
            self._beside = "".join(starmap(_figure, figures))
            self._pictures.value = f'<div class="dpnb-beside">{self._beside}</div>'
            self._shown, self._note.value = (one, other), ""
            self._compared = None
        self._cut()
        self.where.disabled = not can_compare(one, other)
        self.layout.display = None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the map that was asked for is there.

        Args:
            timeout: the most seconds to wait.

        Raises:
            TimeoutError: it is not yet there.
        """
        if self._task is not None:
            self._task.wait(timeout)

    def hide(self) -> None:
        """Show nothing."""
        self.layout.display = "none"
        with self._lock:
            self._pictures.value = self._note.value = ""
            self._shown = self._compared = None

    def _show_where(self) -> None:
        """Find where the two differ, on a thread of its own, once."""
        with self._lock:
            shown = self._shown
            if shown is None or shown is self._compared:
                return
            self._compared = shown
            self._note.value = '<div class="dpnb-note">Comparing …</div>'
        self._task = BackgroundTask(lambda: self._compare(shown))

    def _compare(self, shown: Pair) -> None:
        figure = note = ""
        try:
            found = compare(shown[0].pictures, shown[1].pictures, ["flip"])
            figure = draw_where(*shown, found)
        except Exception as error:
            words = html.escape(describe_error(error))
            note = f'<div class="dpnb-note dpnb-reason">{words}</div>'
        else:
            if self._found is not None:
                self._found(*shown, found)
        with self._lock:
            if self._shown is shown:
                self._pictures.value = f'<div class="dpnb-beside">{self._beside}{figure}</div>'
                self._note.value = note
                self._compared = None if note else shown

    def _cut(self) -> None:
        hidden = 100 - self.place.value
        self._rule.value = (
            f"<style>#{self._name} > img + img {{ clip-path: inset(0 {hidden}% 0 0); }}</style>"
        )


def draw_where(one: FinishedRun, other: FinishedRun, found: PictureDifference) -> str:
    """Where two runs' pictures differ, and by how much, as HTML; laid out as the pictures are.

    Args:
        one: a run.
        other: one that has drawn as many pictures of the same sizes.
        found: how far they differ.
    """
    data = base64.b64encode(encode_png(lay_out_images(found.heat_maps))).decode()
    alt = html.escape(f"Where {one.title} and {other.title} differ. {found.describe()}", quote=True)
    return _figure(
        f'<img src="data:image/png;base64,{data}" alt="{alt}"/>', html.escape(found.describe())
    )


def _figure(picture: str, title: str) -> str:
    return f"<figure>{picture}<figcaption>{title}</figcaption></figure>"


def _title(run: FinishedRun) -> str:
    return html.escape(run.title)


def _picture(run: FinishedRun) -> str:
    data = base64.b64encode(encode_png(lay_out_images(run.pictures))).decode()
    alt = html.escape(f"{run.title}: {request_in_words(run.request)}", quote=True)
    return f'<img src="data:image/png;base64,{data}" alt="{alt}"/>'
