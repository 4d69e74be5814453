"""A field that takes a picture which was drawn before, and asks for the same again."""

from __future__ import annotations

import base64
from typing import Any

import ipywidgets as w

from dpnb.errors import DpnbError
from dpnb.pipelines.settings.picture_files import read_settings
from dpnb.widgets.panel import status_html, status_line
from dpnb.widgets.run_settings import list_losses, make_request
from dpnb.widgets.session import Session
from dpnb.widgets.uploads import list_uploads


class SettingsFile(w.VBox):  # type: ignore[misc]
    """Reads the settings that a picture carries into the fields, and switches on what was on.

    A picture may also be dropped anywhere on the panel.

    Args:
        session: what asks for the same again.

    Attributes:
        upload: takes the file.
        dropped: takes the name and the content of one that was dropped, as a page writes them.
        message: what has become of it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.upload = w.FileUpload(
            accept="image/*", multiple=False, description="Settings of a picture",
            layout={"width": "auto"},
        )  # fmt: skip
        self.upload.add_class("dpnb-settings-file")
        self.upload.tooltip = "Draw again what a picture shows that was saved here or elsewhere"
        self.dropped = w.Textarea(layout={"display": "none"}, description="Dropped file")
        self.dropped.add_class("dpnb-dropped")
        self.dropped.observe(lambda _: self._take_dropped(), "value")
        self.message = status_line()
        self.upload.observe(lambda _: self._take(), "value")
        super().__init__([self.upload, self.dropped, self.message])

    def _take(self) -> None:
        for name, content in list_uploads(self.upload.value)[-1:]:
            self.read(name, content)

    def _take_dropped(self) -> None:
        name, _, address = self.dropped.value.partition("\n")
        if not address:
            return
        self.dropped.value = ""
        try:
            content = base64.b64decode(address.partition(",")[2], validate=True)
        except ValueError:
            content = b""
        self.read(name, content)

    def read(self, name: str, content: Any) -> None:
        """Ask for what a picture was drawn with.

        Args:
            name: of the file.
            content: of the file; or what else `dpnb.read_settings` takes.
        """
        try:
            settings = read_settings(content)
            request = make_request(settings, self._session.pipe)
            losses = list_losses(settings, self._session.pipe)
            plan = settings.plans[0].plan if settings.plans else None
        except (DpnbError, ValueError) as error:
            self.message.value = status_html(f"{name}: {error}", "error")
            return
        if plan is not None:
            self._session.use(plan)
        self._session.restore(request)
        said = f"The fields say what {name} was drawn with"
        words = " ".join([f"{said}, but not all of it.", *losses]) if losses else f"{said}."
        self.message.value = status_html(words)
