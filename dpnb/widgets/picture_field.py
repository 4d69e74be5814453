"""A picture that is chosen from a file."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

import ipywidgets as w
from PIL import Image

from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.widgets.pictures import png, thumbnail
from dpnb.widgets.uploads import UploadError, read_picture

SHOWN = 96
"""Pixels along the longer side of what is shown of the picture."""


class PictureField(w.HBox):  # type: ignore[misc]
    """A button that takes a file, and what is in it.

    Args:
        wanted: what the pipeline takes.
        given: is told of every new picture.

    Attributes:
        picture: what was chosen; `None` before.
        failure: why a file could not be read; empty otherwise.
    """

    def __init__(self, wanted: PictureInput, given: Callable[[Image.Image], None]) -> None:
        self.wanted = wanted
        self.picture: Image.Image | None = None
        self.failure = ""
        self._given = given
        self.upload = w.FileUpload(
            accept="image/*", description=wanted.label, tooltip=f"Choose {wanted.hint}"
        )
        self.upload.layout.width = "auto"
        self.shown = w.HTML()
        self.upload.observe(lambda change: self._read(change["new"]), "value")
        super().__init__([self.upload, self.shown], layout={"align_items": "center"})
        self._show()

    def give(self, picture: Image.Image) -> None:
        """Take `picture`, as if it had been chosen."""
        self.picture, self.failure = picture, ""
        self._given(picture)
        self._show()

    def _read(self, files: Any) -> None:
        if not files:
            return
        file = files[0]
        try:
            picture = read_picture(bytes(file["content"]), file["name"])
        except UploadError as error:
            self.failure = str(error)
            self._show()
        else:
            self.give(picture)

    def _show(self) -> None:
        if self.failure or self.picture is None:
            self.shown.value = html.escape(self.failure or self.wanted.hint)
            return
        small = thumbnail(self.picture, SHOWN).convert("RGB")
        data = base64.b64encode(png(small)).decode()
        alt = html.escape(self.wanted.hint, quote=True)
        self.shown.value = f'<img src="data:image/png;base64,{data}" alt="{alt}"/>'
