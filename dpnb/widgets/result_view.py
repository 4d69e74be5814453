"""What a run has brought, on the page: a picture, an animation and its frames, sounds, words."""

from __future__ import annotations

import base64
import html
import re
from itertools import count

import ipywidgets as w

from dpnb.pipelines.settings.picture_files import encode_with_settings
from dpnb.widgets.browser_images import animation_kind, count_frames, encode_png, find_frame
from dpnb.widgets.output_words import NumbersFile
from dpnb.widgets.run_output import RunOutput
from dpnb.widgets.run_settings import list_picture_settings
from dpnb.widgets.state import RunState

EMPTY = (
    '<div class="dpnb-empty dpnb-blank">The picture appears here. Press <b>Generate</b>, then '
    "flip a switch while it is drawn.</div><div>&nbsp;</div>"
)


_numbers = count(1)
"""Of pictures, which have names of their own on a page."""


class ResultView(w.VBox):  # type: ignore[misc]
    """The last result, or the preview of the next one.

    Attributes:
        picture: a picture, or the animation of a video.
        play: whether a video moves.
        frame: which frame of a video is shown where it does not move.
        others: sounds, and words about what cannot be shown.
    """

    def __init__(self) -> None:
        self.picture, self.others = w.HTML(), w.HTML()
        self.picture.add_class("dpnb-picture")
        self.play = w.Checkbox(
            value=True,
            description="Play",
            indent=False,
            layout={"width": "auto", "flex": "0 0 auto", "margin": "2px 14px 2px 2px"},
        )
        self.frame = w.IntSlider(
            description="Frame", min=1, max=1, value=1, continuous_update=True,
            style={"description_width": "initial"}, layout={"flex": "1 1 auto", "width": "auto"},
        )  # fmt: skip
        self._film = w.HBox([self.play, self.frame], layout={"display": "none"})
        self._shown: RunOutput | None = None
        self._name, self._words = "picture", ""
        self.play.observe(lambda _: self._show_animation(), "value")
        self.frame.observe(lambda _: self._choose_frame(), "value")
        super().__init__([self.picture, self._film, self.others])

    def show(self, state: RunState) -> None:
        """Show the preview that there is, or else the last result."""
        prompt = "what a cell asked for" if state.pictured is None else state.pictured.prompt
        self._words = html.escape(prompt, quote=True)
        self._name = html.escape(re.sub(r"\W+", "-", prompt).strip("-")[:60] or "picture")
        if state.is_preview:
            self._film.layout.display = self.others.layout.display = "none"
            self.picture.value = self._image(state.picture, "png", "Preview of", "preview")
            self._shown = None
            return
        output: RunOutput = state.output
        if not output.animations:
            self._film.layout.display = "none"
            if output is not self._shown or not output:
                self.picture.value = self._stills(state)
        elif output is not self._shown:
            self._begin_animation(output)
        self._shown = output
        self._show_others(output)

    def _stills(self, state: RunState) -> str:
        """The pictures of the last run, each with its seed where there are several."""
        pictures = state.output.pictures
        if not pictures:
            return self._still(state.picture) if state.picture else "" if state.output else EMPTY
        run = next((one for one in reversed(state.history) if one.output is state.output), None)
        settings = (None,) * len(pictures) if run is None else list_picture_settings(run)
        files = [
            encode_with_settings(picture, its, quick=True)
            for picture, its in zip(pictures, settings, strict=True)
        ]
        if len(files) == 1:
            return self._still(files[0])
        figures = []
        for place, (data, its) in enumerate(zip(files, settings, strict=True)):
            seed = "" if its is None or its.seed is None else f"seed {its.seed}"
            name = f"{self._name}-{seed.replace(' ', '-') or place + 1}"
            link = self._link(data, "image/png", "png", name, "Save")
            image = _enlargeable(data, "png", f"Picture {place + 1} of {self._words}")
            figures.append(f"<figure>{image}<figcaption>{seed} {link}</figcaption></figure>")
        return f'<div class="dpnb-several">{"".join(figures)}</div>'

    def _still(self, picture: bytes, what: str = "Picture of") -> str:
        return self._image(picture, "png", what, self._link(picture, "image/png", "png"))

    def _begin_animation(self, output: RunOutput) -> None:
        self._shown = output
        self.frame.max = count_frames(output.animations[0])
        self.frame.value, self.play.value = 1, True
        self._film.layout.display = None
        self._show_animation()

    def _show_animation(self) -> None:
        if self._shown is None or not self._shown.animations:
            return
        first = self._shown.animations[0]
        if not self.play.value:
            still = encode_png(find_frame(first, self.frame.value - 1), quick=True)
            self.picture.value = self._still(still, f"Frame {self.frame.value} of")
            return
        self.picture.value = "".join(
            self._image(one, kind, "Video of", self._link(one, f"image/{kind}", kind))
            for one in self._shown.animations
            for kind in [animation_kind(one)]
        )

    def _choose_frame(self) -> None:
        """A person has moved the slider: hold the video there."""
        if self._shown is None or (self.play.value and self.frame.value == 1):
            return
        if self.play.value:
            self.play.value = False
        else:
            self._show_animation()

    def _show_others(self, output: RunOutput) -> None:
        players = "".join(self._player(one) for one in output.sounds)
        words = f'<div class="dpnb-brought">{html.escape(output.words)}</div>' * bool(output.words)
        numbers = "".join(self._offer(one) for one in output.numbers)
        self.others.value = players + words + numbers
        self.others.layout.display = None if self.others.value else "none"

    def _offer(self, numbers: NumbersFile) -> str:
        """A link that saves numbers."""
        plain = re.sub(r"\W+", "-", numbers.name)
        address = _address(numbers.content, "application/octet-stream")
        return (
            f'<div class="dpnb-brought"><a href="{address}" download="{self._name}-{plain}.npy">'
            f"Save {html.escape(numbers.name.replace('_', ' '))} (NPY, {numbers.dtype})</a></div>"
        )

    def _player(self, sound: bytes) -> str:
        label, address = f"Sound of {self._words}", _address(sound, "audio/wav")
        player = f'<audio controls aria-label="{label}" src="{address}"></audio>'
        return f"{player}<div>{self._link(sound, 'audio/wav', 'wav')}</div>"

    def _image(self, data: bytes, kind: str, what: str, below: str) -> str:
        return f"{_enlargeable(data, kind, f'{what} {self._words}')}<div>{below}</div>"

    def _link(
        self, data: bytes, kind: str, ending: str, name: str | None = None, words: str | None = None
    ) -> str:
        """A link that saves a file."""
        noun = {"wav": "sound", "webp": "video", "gif": "video"}.get(ending, "picture")
        words, name = words or f"Save {noun}", name or self._name
        return f'<a href="{_address(data, kind)}" download="{name}.{ending}">{words}</a>'


def _enlargeable(data: bytes, kind: str, words: str) -> str:
    """A picture that a click, or Enter, shows as large as the page; Escape shows it as before."""
    name = f"dpnb-picture-{next(_numbers)}"
    return (
        f'<span class="dpnb-large"><img id="{name}" popover="auto" '
        f'src="{_address(data, f"image/{kind}")}" alt="{words}"/>'
        f'<button popovertarget="{name}" aria-label="Enlarge: {words}"></button></span>'
    )


def _address(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
