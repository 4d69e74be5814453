"""A field for a picture that is chosen from a file."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

import ipywidgets as w
from PIL import Image

from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.widgets.browser_images import encode_png, make_thumbnail
from dpnb.widgets.uploads import UploadError, read_picture

SHOWN = 96
"""Pixels along the longer side of what is shown of the picture."""


class PictureField(w.HBox):  # type: ignore[misc]
    """A button that takes a file, and a small view of the picture in it.

    Args:
        picture_input: what the pipeline takes.
        on_picture: is told of every new picture.

    Attributes:
        picture: what was chosen; `None` before.
        failure: why a file could not be read; empty otherwise.
    """

    def __init__(
        self, picture_input: PictureInput, on_picture: Callable[[Image.Image], None]
    ) -> None:
        self.picture_input = picture_input
        self.picture: Image.Image | None = None
        self.failure = ""
        self._on_picture = on_picture
        self.upload = w.FileUpload(
            accept="image/*",
            description=picture_input.label[:1].upper() + picture_input.label[1:],
            tooltip=f"Choose {picture_input.hint}",
        )
        self.upload.layout.width, self.upload.layout.flex = "auto", "0 0 auto"
        self.shown = w.HTML()
        self.upload.observe(lambda change: self._read(change["new"]), "value")
        super().__init__([self.upload, self.shown], layout={"align_items": "center"})
        self._show()

    def set_picture(self, picture: Image.Image) -> None:
        """Take `picture`, as if it had been chosen."""
        self.picture, self.failure = picture, ""
        self._on_picture(picture)
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
            self.set_picture(picture)

    def _show(self) -> None:
        if self.failure or self.picture is None:
            self.shown.value = html.escape(self.failure or self.picture_input.hint)
            return
        small = make_thumbnail(self.picture, SHOWN).convert("RGB")
        data = base64.b64encode(encode_png(small)).decode()
        alt = html.escape(self.picture_input.hint, quote=True)
        self.shown.value = f'<img src="data:image/png;base64,{data}" alt="{alt}"/>'
