"""The panel that draws: fields for a request, the buttons, progress and picture."""

from __future__ import annotations

import base64
import html
import inspect
import random
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from dpnb.errors import DpnbError
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.strategies.settings import describe_strategy
from dpnb.widgets.job import Job
from dpnb.widgets.panel import Panel, heading, status_html, status_line
from dpnb.widgets.picture_field import PictureField
from dpnb.widgets.state import EXAMPLE, Request

if TYPE_CHECKING:
    from PIL.Image import Image

LAST_SEED = 2**31 - 1
PREVIEWS = (
    ("a colour for each latent (cheap)", 0),
    ("decoded every 5 steps", 5),
    ("decoded every step", 1),
    ("none", -1),
)
LABEL = {"description_width": "5.5em"}


class RunPanel(Panel):
    """What to draw, the button that draws it, how far it is, and the picture.

    Args:
        pipe: the pipeline.
        request: what the fields show at first.
    """

    def __init__(self, pipe: TextToImagePipeline, request: Request = EXAMPLE) -> None:
        super().__init__(pipe)
        height, width = pipe.default_size()
        unit = pipe.size_unit
        self.prompt = _text("Prompt", request.prompt, "What to draw")
        self.negative = _text("Not", request.negative_prompt, "What not to draw")
        self.steps = _number("Steps", request.steps, 1, 1000)
        self.guidance = _number("Guidance", float(request.guidance_scale), 0.0, 50.0, 0.5)
        self.width = _number("Width", request.width or width, unit, 1 << 14, unit)
        self.height = _number("Height", request.height or height, unit, 1 << 14, unit)
        self.seed = _number("Seed", request.seed, 0, LAST_SEED)
        self.picture_fields = {
            one.argument: PictureField(one, _ignore if one.is_mask else self._fit)
            for one in pipe.picture_inputs
        }
        self.strength = _strength(pipe, request.strength) if self.picture_fields else None
        self.new_seed = w.Button(description="🎲 New seed", layout={"width": "auto"})
        self.new_seed.tooltip = "Another seed, by chance"
        self.count = _number("Pictures", request.count, 1, 64)
        present = type(pipe.scheduler).__name__
        names = sorted({present, *pipe.scheduler.interchangeable})
        self.scheduler = _menu("Scheduler", [(_short_name(name), name) for name in names], present)
        self.preview = _menu("Preview", PREVIEWS, self.session.run_state.preview_every)
        self.generate = w.Button(description="Generate", tooltip="Draw a picture")
        self.generate.add_class("dpnb-go")
        self.stop = w.Button(description="Stop", tooltip="End after this step", disabled=True)
        self.message, self.failure = status_line(), status_line("dpnb-failure")
        self.memory_saver = w.Button(layout={"display": "none", "width": "auto"})
        self.progress, self.picture = w.HTML(), w.HTML()
        self.picture.add_class("dpnb-picture")
        for name, picture in request.pictures:
            self.set_picture(name, picture)
        self.width.value, self.height.value = (
            asked or field.value
            for asked, field in ((request.width, self.width), (request.height, self.height))
        )
        self._bind()
        self.fill(self._arrange())
        self._show()

    @property
    def request(self) -> Request:
        """What the fields say."""
        return Request(
            prompt=self.prompt.value,
            negative_prompt=self.negative.value,
            steps=self.steps.value,
            guidance_scale=self.guidance.value,
            width=self.width.value,
            height=self.height.value,
            seed=self.seed.value,
            count=self.count.value,
            scheduler=self.scheduler.value,
            strength=None if self.strength is None else self.strength.value,
            pictures=tuple(
                (name, field.picture)
                for name, field in self.picture_fields.items()
                if field.picture is not None
            ),
        )

    def set_picture(self, argument: str, picture: Image) -> None:
        """Draw from `picture`, in the place of an uploaded one.

        Args:
            argument: of the pipeline's call, for example `"image"`.
            picture: what it is given.

        Raises:
            ValueError: the pipeline takes no picture by that name.
        """
        if argument not in self.picture_fields:
            known = ", ".join(self.picture_fields) or "none"
            raise ValueError(
                f"{argument} is no picture that this pipeline takes; it takes {known}."
            )
        self.picture_fields[argument].set_picture(picture)

    def draw(self) -> Job:
        """Begin to draw what the fields say; wait for it with the `wait` of what is returned.

        Raises:
            SessionError: a run is going on.
            ValueError: a picture is missing, or something about the request is impossible.
        """
        for field in self.picture_fields.values():
            if field.picture is None:
                raise ValueError(f"First choose {field.picture_input.hint}.")
        return self.session.start(self.request)

    def _bind(self) -> None:
        self.generate.on_click(lambda _: self._start_or_show_error(self.draw))
        self.stop.on_click(lambda _: self.session.stop())
        self.new_seed.on_click(lambda _: self.seed.set_trait("value", random.randrange(LAST_SEED)))
        self.memory_saver.on_click(lambda _: self._retry_with_memory_saver())
        self.preview.observe(
            lambda change: self.session.run_state.set_trait("preview_every", change["new"]), "value"
        )
        state = self.session.run_state
        self.watch(state, ["phase", "error", "memory_saver"], lambda _: self._show())
        self.watch(state, ["picture", "pictured", "is_preview"], lambda _: self._show_picture())
        self.watch(state, ["progress", "message"], lambda _: self._show_progress())
        self.watch(state, "preview_every", lambda _: self._show_preview_choice())

    def _arrange(self) -> list[w.Widget]:
        buttons = w.HBox([self.generate, self.stop])
        self.generate.layout.flex = "1 1 auto"
        strength = [] if self.strength is None else [self.strength]
        size = [self.width, self.height]
        others = [self.seed, self.new_seed, self.count, *strength]
        numbers = w.GridBox(
            [self.steps, self.guidance, *size, *others],
            layout={
                "grid_template_columns": "minmax(0, 1fr) minmax(0, 1fr)",
                "grid_gap": "2px 10px",
                "width": "100%",
            },
        )
        numbers.add_class("dpnb-numbers")
        more = w.VBox([self.scheduler, self.preview])
        words = [self.prompt, self.negative, *self.picture_fields.values()]
        parts = [*words, buttons, self.progress, self.message, self.failure]
        return [heading("Draw"), *parts, self.memory_saver, self.picture, numbers, more]

    def _fit(self, picture: Image) -> None:
        """Draw in the shape of `picture`, and no larger than the model's own size."""
        height, width = self.session.pipe.default_size()
        scale = min((height * width / (picture.height * picture.width)) ** 0.5, 1.0)
        for field, side in ((self.height, picture.height), (self.width, picture.width)):
            unit = field.step
            field.value = max(round(side * scale) // unit, 1) * unit

    def _start_or_show_error(self, start: Callable[[], Job]) -> None:
        try:
            start()
        except (DpnbError, ValueError, TypeError) as error:
            self.session.run_state.memory_saver = None
            self.session.run_state.error = str(error)

    def _retry_with_memory_saver(self) -> None:
        """Draw what has failed once more, with what makes it fit."""
        memory_saver, history = self.session.run_state.memory_saver, self.session.run_state.history
        if memory_saver is None:
            return
        failed = history[-1].request if history else None
        self.session.enable(memory_saver)
        self._start_or_show_error(
            self.draw if failed is None else partial(self.session.start, failed)
        )

    def _show(self) -> None:
        state = self.session.run_state
        is_idle = state.phase == "idle"
        self.generate.disabled, self.stop.disabled = not is_idle, state.phase != "running"
        self.generate.description = "Generate" if is_idle else "Drawing …"
        self.failure.value = status_html(state.error, "error") if state.error else ""
        memory_saver = state.memory_saver
        self.memory_saver.layout.display = None if memory_saver is not None else "none"
        if memory_saver is not None:
            self.memory_saver.description = (
                f"Switch on {describe_strategy(memory_saver)} and run again"
            )
            self.memory_saver.tooltip = type(memory_saver).summary()
        self._show_progress()
        self._show_picture()

    def _show_progress(self) -> None:
        state, progress = self.session.run_state, self.session.run_state.progress
        share = round(100 * progress.done / progress.total) if progress.total else 0
        is_live = state.phase != "idle"
        self.message.value = status_html("" if is_live else state.message)
        self.progress.value = (
            f'<div class="dpnb-progress" role="progressbar" aria-label="Progress" '
            f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share}" '
            f'aria-valuetext="{html.escape(state.message, quote=True)}">'
            f'<div style="width:{share}%"></div></div><div>{html.escape(state.message)}</div>'
            if is_live
            else ""
        )

    def _show_picture(self) -> None:
        state = self.session.run_state
        if not state.picture:
            self.picture.value = (
                '<div class="dpnb-empty">The picture appears here. Press <b>Generate</b>, then '
                "flip a switch while it is drawn.</div>"
            )
            return
        data = f"data:image/png;base64,{base64.b64encode(state.picture).decode()}"
        prompt = "what a cell asked for" if state.pictured is None else state.pictured.prompt
        words = html.escape(prompt, quote=True)
        kind = "Preview of" if state.is_preview else "Picture of"
        name = re.sub(r"\W+", "-", prompt).strip("-")[:60] or "picture"
        link = f'<a href="{data}" download="{html.escape(name)}.png">Save picture</a>'
        self.picture.value = f'<img src="{data}" alt="{kind} {words}"/><div>' + (
            "preview</div>" if state.is_preview else f"{link}</div>"
        )

    def _show_preview_choice(self) -> None:
        self.preview.value = self.session.run_state.preview_every


def _text(label: str, value: str, hint: str) -> w.Text:
    return w.Text(
        value=value, description=label, placeholder=hint, style=LABEL, layout={"width": "100%"}
    )


def _number(
    label: str, value: float, least: float, most: float, step: float = 1
) -> w.BoundedIntText | w.BoundedFloatText:
    kind = w.BoundedFloatText if isinstance(value, float) else w.BoundedIntText
    return kind(
        value=value, min=least, max=most, step=step, description=label, style=LABEL,
        layout={"width": "auto"},
    )  # fmt: skip


def _ignore(picture: Image) -> None:
    """Hear of a picture, and do nothing."""


def _strength(pipe: TextToImagePipeline, given: float | None) -> w.BoundedFloatText:
    """How much of the schedule is gone through; the pipeline's own share by default."""
    own = inspect.signature(pipe.stream).parameters["strength"].default
    return _number("Strength", float(own if given is None else given), 0.0, 1.0, 0.05)


def _menu(label: str, options: Any, value: Any) -> w.Dropdown:
    return w.Dropdown(
        options=options, value=value, description=label, style=LABEL, layout={"width": "100%"}
    )


def _short_name(name: str) -> str:
    words = re.sub(r"(Discrete|Multistep)?Scheduler$", "", name)
    return words.replace("EulerAncestral", "Euler ancestral")
