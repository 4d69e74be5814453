"""Two pictures over each other, of which a slider shows more of the one or of the other."""

from __future__ import annotations

import base64
import html
from itertools import count

import ipywidgets as w

from dpnb.widgets.browser_images import encode_png, lay_out_images
from dpnb.widgets.run_words import request_in_words
from dpnb.widgets.state import FinishedRun

_numbers = count(1)


class PictureWipe(w.VBox):  # type: ignore[misc]
    """The pictures of two runs: side by side, and one wiped over the other.

    The slider sends a single rule of style; the pictures are sent once.

    Attributes:
        place: how much is shown of the first one, of 100.
    """

    def __init__(self) -> None:
        self._name = f"dpnb-wipe-{next(_numbers)}"
        self._pictures, self._rule = w.HTML(), w.HTML(layout={"display": "none"})
        self.place = w.IntSlider(
            value=50, min=0, max=100, readout=False, description="Wipe",
            style={"description_width": "auto"}, layout={"width": "min(100%, 26em)"},
        )  # fmt: skip
        self.place.observe(lambda _: self._cut(), "value")
        super().__init__([self._rule, self._pictures, self.place], layout={"display": "none"})

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
        self._pictures.value = '<div class="dpnb-beside">{}</div>'.format(
            "".join(
                f"<figure>{picture}<figcaption>{title}</figcaption></figure>"
                for picture, title in figures
            )
        )
        self._cut()
        self.layout.display = None

    def hide(self) -> None:
        """Show nothing."""
        self.layout.display = "none"
        self._pictures.value = ""

    def _cut(self) -> None:
        hidden = 100 - self.place.value
        self._rule.value = (
            f"<style>#{self._name} > img + img {{ clip-path: inset(0 {hidden}% 0 0); }}</style>"
        )


def _title(run: FinishedRun) -> str:
    return html.escape(run.title)


def _picture(run: FinishedRun) -> str:
    data = base64.b64encode(encode_png(lay_out_images(run.pictures))).decode()
    alt = html.escape(f"{run.title}: {request_in_words(run.request)}", quote=True)
    return f'<img src="data:image/png;base64,{data}" alt="{alt}"/>'
