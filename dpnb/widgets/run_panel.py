"""The panel that draws: fields for a request, the buttons, progress and picture."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from dpnb.errors import DpnbError
from dpnb.strategies.settings import describe_strategy
from dpnb.widgets.field_widgets import menu
from dpnb.widgets.grid_view import GridView
from dpnb.widgets.job import Job
from dpnb.widgets.panel import (
    Panel,
    check_request,
    heading,
    hidden_part,
    status_html,
    status_line,
)
from dpnb.widgets.preview_decoder import has_tiny_decoder, is_tiny_decoder
from dpnb.widgets.queue_view import QueueView
from dpnb.widgets.request_fields import RequestFields
from dpnb.widgets.result_view import ResultView
from dpnb.widgets.settings_file import SettingsFile
from dpnb.widgets.state import NO_PREVIEW, TINY_PREVIEW, Request

if TYPE_CHECKING:
    from dpnb.widgets.media_input import Media

PREVIEWS = (
    ("coloured latents (cheap)", 0),
    ("decoded every 5 steps", 5),
    ("decoded every step", 1),
    ("none", NO_PREVIEW),
)

TINY = ("tiny decoder every step", TINY_PREVIEW)
"""A further preview, where there is such a decoder."""


class RunPanel(Panel):
    """What to draw, the button that draws it, how far it is, and the picture.

    Args:
        pipe: the pipeline, of whatever class.
        request: what the fields show at first.
    """

    def __init__(self, pipe: Any, request: Request | None = None) -> None:
        super().__init__(pipe)
        check_request(request)
        session = self.session
        self.fields = fields = RequestFields(
            session.pipe, request or session.example, session.card_numbers
        )
        self.prompt, self.negative = fields.prompt, fields.negative
        self.steps, self.guidance, self.strength = fields.steps, fields.guidance, fields.strength
        self.width, self.height, self.count = fields.width, fields.height, fields.count
        self.seed, self.new_seed = fields.seed, fields.new_seed
        self.scheduler, self.picture_fields = fields.scheduler, fields.pictures
        self.preview = menu("Preview", PREVIEWS, PREVIEWS[0][1])
        self.generate = w.Button(description="Generate", tooltip="Draw a picture")
        self.generate.add_class("dpnb-go")
        self.stop = w.Button(description="Stop", tooltip="End after this step", disabled=True)
        self.stop.add_class("dpnb-stop")
        self.waiting = QueueView(session.queue)
        self.settings_file, self.grid = SettingsFile(session), GridView(session, fields)
        self.message, self.failure = status_line(), status_line("dpnb-failure")
        self.memory_saver = w.Button(layout={"display": "none", "width": "auto"})
        self.progress, self.result = w.HTML(), ResultView()
        self.picture = self.result.picture
        self._bind()
        self.fill(self._arrange())
        self._show_preview_choice()
        self._show()

    @property
    def request(self) -> Request:
        """What the fields say.

        Raises:
            TypeError: something was written that the pipeline does not take.
            ValueError: likewise.
        """
        return self.fields.request

    @property
    def preview_decoder(self) -> Any:
        """An `AutoencoderTiny` that decodes previews; the pipeline's own one where it is `None`."""
        return self.session.run_state.preview_decoder

    @preview_decoder.setter
    def preview_decoder(self, decoder: Any) -> None:
        if decoder is not None and not is_tiny_decoder(decoder):
            raise TypeError(
                f"preview_decoder is a {type(decoder).__name__}; give an AutoencoderTiny for the "
                "latents of this pipeline, or None."
            )
        self.session.run_state.preview_decoder = decoder

    def set_picture(self, argument: str, picture: Media) -> None:
        """Draw from `picture`, in the place of an uploaded one.

        Args:
            argument: of the pipeline's call, for example `"image"`.
            picture: what it is given; for some arguments a list of pictures, or a sound.

        Raises:
            ValueError: the pipeline takes no picture by that name.
        """
        if argument not in self.picture_fields:
            known = ", ".join(self.picture_fields) or "none"
            raise ValueError(
                f"{argument} is no picture that this pipeline takes; it takes {known}."
            )
        self.picture_fields[argument].set_picture(picture)

    def set_argument(self, argument: str, value: Any) -> None:
        """Give an argument a value, also one that no field can show, such as a tensor.

        Args:
            argument: of the pipeline's call, for example `"image_embeds"`.
            value: what it is given.

        Raises:
            ValueError: the call takes no such argument.
        """
        self.fields.give(argument, value)

    def draw(self) -> Job:
        """Draw what the fields say, after the run that goes on and what waits.

        Returns:
            What waits for the end with its `wait`.

        Raises:
            SessionError: the panel was closed.
            ValueError: a picture is missing, or something about the request is impossible.
        """
        self.refuse_when_closed()
        missing = self.fields.find_missing()
        if missing is not None:
            raise ValueError(missing)
        if self.fields.is_seed_fresh.value:
            self.fields.choose_seed()
        is_busy = self.session.is_drawing or self.session.run_state.queue
        start = self.session.queue.add if is_busy else self.session.start
        job = start(self.request)
        self.fields.schedulers.note_use()
        return job

    def _bind(self) -> None:
        self.generate.on_click(lambda _: self._start_or_show_error(self.draw))
        self.stop.on_click(lambda _: self.session.stop())
        self.memory_saver.on_click(lambda _: self._retry_with_memory_saver())
        self.preview.observe(self._choose_preview, "value")
        state = self.session.run_state
        self.watch(state, ["phase", "error", "memory_saver"], lambda _: self._show())
        self.watch(state, ["queue", "phase"], lambda _: self.waiting.show(state))
        shown = ["picture", "pictured", "is_preview", "output"]
        self.watch(state, shown, lambda _: self.result.show(state))
        self.watch(state, ["history", "queue", "phase"], lambda _: self.grid.take(state.history))
        self.watch(
            self.session.strategy_state,
            "active",
            lambda change: self.grid.note_switch(change["old"], change["new"]),
        )
        self.watch(state, "phase", lambda _: self.fields.schedulers.follow())
        self.watch(state, "restored", lambda _: self._restore())
        self.watch(state, ["progress", "message"], lambda _: self._show_progress())
        previews = ["preview_every", "preview_decoder", "phase"]
        self.watch(state, previews, lambda _: self._show_preview_choice())

    def _arrange(self) -> list[w.Widget]:
        buttons = w.HBox([self.generate, self.stop])
        self.generate.layout.flex = "1 1 auto"
        numbers = w.GridBox(
            self.fields.numbers,
            layout={"width": "100%"},
        )
        numbers.add_class("dpnb-numbers")
        menus = [self.scheduler, self.preview] if self.scheduler.options else [self.preview]
        menus = [self.fields.shape, *menus] if self.fields.shape.options else menus
        further = [self.settings_file, self.grid, *self.fields.further]
        more = hidden_part(further, "Settings of a picture, grids, and further arguments")
        slot = w.VBox([self.progress, self.message])
        slot.add_class("dpnb-slot")
        menus_box = w.VBox(menus)
        menus_box.add_class("dpnb-menus")
        self.result.add_class("dpnb-result")
        parts = [*self.fields.words, buttons, slot, self.waiting, self.failure]
        given = self.fields.given
        below = [self.memory_saver, self.result, numbers, menus_box, *more, given]
        return [heading("Draw"), *parts, *below]

    def _restore(self) -> None:
        wanted = self.session.run_state.restored
        if wanted is not None:
            self.fields.show(wanted)

    def _start_or_show_error(self, start: Callable[[], Job]) -> None:
        try:
            start()
        except (DpnbError, ValueError, TypeError) as error:
            self.session.run_state.memory_saver = None
            self.session.run_state.error = str(error)

    def _retry_with_memory_saver(self) -> None:
        """Draw what has failed once more, with what makes it fit."""
        state = self.session.run_state
        memory_saver, failed = state.memory_saver, state.failed
        if memory_saver is None:
            return
        self.session.enable(memory_saver)
        self._start_or_show_error(
            self.draw if failed is None else partial(self.session.start, failed)
        )

    def _show(self) -> None:
        state = self.session.run_state
        is_idle = state.phase == "idle"
        self.stop.disabled = state.phase != "running"
        self.generate.description = "Generate" if is_idle else "Add to queue"
        self.failure.value = status_html(state.error, "error") if state.error else ""
        memory_saver = state.memory_saver
        self.memory_saver.layout.display = None if memory_saver is not None else "none"
        if memory_saver is not None:
            self.memory_saver.description = (
                f"Switch on {describe_strategy(memory_saver)} and run again"
            )
            self.memory_saver.tooltip = type(memory_saver).summary()
        self._show_progress()
        self.result.show(state)

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

    def _choose_preview(self, change: Any) -> None:
        self.session.run_state.preview_every = change["new"]

    def _show_preview_choice(self) -> None:
        state, pipe = self.session.run_state, self.session.pipe
        has_tiny = state.preview_decoder is not None or has_tiny_decoder(pipe)
        choices = (*PREVIEWS, TINY) if has_tiny else PREVIEWS
        if tuple(self.preview.options) != choices:
            self.preview.unobserve(self._choose_preview, "value")
            self.preview.options = choices
            self.preview.observe(self._choose_preview, "value")
        if state.preview_every == TINY_PREVIEW and not has_tiny:
            state.preview_every = PREVIEWS[0][1]
        self.preview.value = state.preview_every
