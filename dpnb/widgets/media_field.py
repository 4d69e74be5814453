"""A field for pictures, films and sounds that are chosen from files."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as w
import traitlets
from PIL import Image
from torch import Tensor

from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.widgets.browser_images import encode_png, make_thumbnail
from dpnb.widgets.media_input import Media, MediaInput
from dpnb.widgets.uploads import UploadError

SHOWN = 96
"""Pixels along the longer side of what is shown of a picture."""

MOST = 4
"""Pictures that are shown of several."""


class MediaField(w.HBox):  # type: ignore[misc]
    """A button that takes files, and a small view of what is in them.

    Args:
        media_input: what the pipeline takes.
        on_picture: is told of every new picture.

    Attributes:
        value: what was chosen; `None` before.
        source: Python that reads the same from the same files; empty where it came from none.
        failure: why a file could not be read; empty otherwise.
    """

    value = traitlets.Any(None)

    def __init__(self, media_input: MediaInput, on_picture: Callable[[Image.Image], None]) -> None:
        self.media_input = media_input
        self.source = ""
        self.failure = ""
        self._on_picture = on_picture
        label = media_input.given.label
        self.upload = w.FileUpload(
            accept=media_input.accept,
            multiple=media_input.may_be_several,
            description=label[:1].upper() + label[1:],
            tooltip=f"Choose {media_input.given.hint}",
        )
        self.upload.layout.width, self.upload.layout.flex = "auto", "0 0 auto"
        self.shown = w.HTML()
        self.remove = w.Button(
            description="Remove",
            tooltip=f"Leave {label} out",
            layout={"width": "auto", "flex": "0 0 auto", "display": "none"},
        )
        self.upload.observe(lambda change: self._read(change["new"]), "value")
        self.remove.on_click(lambda _: self.clear())
        parts = [self.upload, self.shown, self.remove]
        super().__init__(parts, layout={"align_items": "center"})
        self.add_class("dpnb-media")
        self._show()

    @property
    def media(self) -> Media | None:
        """What was chosen; `None` before."""
        chosen: Media | None = self.value
        return chosen

    @property
    def picture_input(self) -> PictureInput:
        """Its name in the call, and words for it."""
        return self.media_input.given

    @property
    def picture(self) -> Image.Image | None:
        """The first picture that was chosen; `None` where there is none."""
        first = self.media[0] if isinstance(self.media, (list, tuple)) else self.media
        return first if isinstance(first, Image.Image) else None

    def set_picture(self, picture: Media, source: str = "") -> None:
        """Take a picture, pictures or a sound, as if they had been chosen.

        Args:
            picture: what the call is given.
            source: Python that reads the same, where it came from files.
        """
        self.source, self.failure = source, ""
        self.value = picture
        if self.picture is not None:
            self._on_picture(self.picture)
        self._show()

    def clear(self) -> None:
        """Leave it out."""
        self.source, self.failure = "", ""
        self.value = None
        self._show()

    def _read(self, files: Any) -> None:
        if not files:
            return
        chosen = _list_files(files)
        try:
            media = self.media_input.read(chosen)
        except UploadError as error:
            self.failure = str(error)
            self._show()
        else:
            self.set_picture(media, self.media_input.write([name for name, _ in chosen]))

    def _show(self) -> None:
        is_optional = self.picture_input.is_optional
        is_removable = self.media is not None and is_optional
        self.remove.layout.display = None if is_removable else "none"
        if self.failure or self.media is None:
            self.shown.value = html.escape(self.failure or self.picture_input.hint)
            return
        alt = html.escape(self.picture_input.hint, quote=True)
        pictures = _pictures_in(self.media)
        views = "".join(_view(one, alt) for one in pictures[:MOST])
        words = _describe(self.media) if len(pictures) != 1 else ""
        self.shown.value = views + f" {html.escape(words)}" * bool(words)


def _list_files(value: Any) -> list[tuple[str, bytes]]:
    """Names and contents of chosen files; ipywidgets 7 has a mapping of them."""
    if isinstance(value, Mapping):
        return [(str(name), bytes(file["content"])) for name, file in value.items()]
    return [(str(file["name"]), bytes(file["content"])) for file in value]


def _pictures_in(media: Any) -> list[Image.Image]:
    several = media if isinstance(media, (list, tuple)) else [media]
    return [one for one in several if isinstance(one, Image.Image)]


def _describe(media: Any) -> str:
    if isinstance(media, Tensor):
        return " × ".join(str(size) for size in media.shape) + " numbers"
    several = media if isinstance(media, (list, tuple)) else [media]
    is_drawn = all(isinstance(one, Image.Image) for one in several)
    return f"{len(several)} {'pictures' if is_drawn else type(several[0]).__name__}"


def _view(picture: Image.Image, alt: str) -> str:
    small = make_thumbnail(picture, SHOWN).convert("RGB")
    data = base64.b64encode(encode_png(small)).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{alt}"/>'
