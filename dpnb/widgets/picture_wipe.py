"""Two pictures over each other, of which a slider shows more of the one or of the other."""

from __future__ import annotations

import base64
import html
from itertools import count, starmap

import ipywidgets as w

from dpnb.errors import MissingPackageError
from dpnb.fidelity.difference import compare
from dpnb.widgets.background_task import BackgroundTask
from dpnb.widgets.browser_images import encode_png, lay_out_images
from dpnb.widgets.picture_judge import Pair, can_compare
from dpnb.widgets.run_words import request_in_words
from dpnb.widgets.state import FinishedRun

_numbers = count(1)


class PictureWipe(w.VBox):  # type: ignore[misc]
    """The pictures of two runs: side by side, and one wiped over the other.

    The slider sends a single rule of style; the pictures are sent once.

    Attributes:
        place: how much is shown of the first one, of 100.
        where: shows where they differ, once it is pressed.
    """

    def __init__(self) -> None:
        self._name = f"dpnb-wipe-{next(_numbers)}"
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
        self._beside = "".join(starmap(_figure, figures))
        self._pictures.value = f'<div class="dpnb-beside">{self._beside}</div>'
        self._cut()
        self._shown, self._note.value = (one, other), ""
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
        self._pictures.value = self._note.value = ""
        self._shown = None

    def _show_where(self) -> None:
        """Find where the two differ, on a thread of its own."""
        shown = self._shown
        if shown is not None:
            self._note.value = '<div class="dpnb-note">Comparing …</div>'
            self._task = BackgroundTask(lambda: self._compare(shown))

    def _compare(self, shown: Pair) -> None:
        figure = note = ""
        try:
            figure = draw_where(*shown)
        except MissingPackageError as error:
            note = f'<div class="dpnb-note dpnb-reason">{html.escape(str(error))}</div>'
        if self._shown is shown:
            self._pictures.value = f'<div class="dpnb-beside">{self._beside}{figure}</div>'
            self._note.value = note

    def _cut(self) -> None:
        hidden = 100 - self.place.value
        self._rule.value = (
            f"<style>#{self._name} > img + img {{ clip-path: inset(0 {hidden}% 0 0); }}</style>"
        )


def draw_where(one: FinishedRun, other: FinishedRun) -> str:
    """Where two runs' pictures differ, and by how much, as HTML.

    Args:
        one: a run.
        other: one that has drawn as many pictures of the same sizes.

    Raises:
        MissingPackageError: `dpnb[quality]` is not installed.
    """
    found = compare(one.pictures, other.pictures, ["flip"])
    data = base64.b64encode(encode_png(found.heat_map)).decode()
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
