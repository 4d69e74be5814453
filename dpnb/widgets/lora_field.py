"""Fields for low-rank weights: load them, say how strong they are, take them away."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import ipywidgets as w

from dpnb.errors import DpnbError
from dpnb.widgets.lora_adapters import LoadedLora, LoraAdapters
from dpnb.widgets.panel import close_all, hidden_part, status_html, status_line

REFUSALS = (DpnbError, ValueError, TypeError, RuntimeError)
"""What the methods of a pipeline refuse adapters with."""


class LoraField(w.VBox):  # type: ignore[misc]
    """What is loaded, and what loads more, behind a button.

    Args:
        adapters: what it shows and asks; `show` brings it to their state.

    Attributes:
        rows: of what is loaded, by name.
    """

    def __init__(self, adapters: LoraAdapters) -> None:
        self._adapters = adapters
        self._prompt: w.Textarea | None = None
        self.rows: dict[str, LoraRow] = {}
        self.place = w.Text(
            description="LoRA file", placeholder="a file, a folder, owner/name or owner/name/file",
            continuous_update=False, layout={"width": "100%"},
        )  # fmt: skip
        self.scale = w.FloatText(
            description="Scale", value=1.0, step=0.05, layout={"width": "auto"}
        )
        self.load = w.Button(description="Load", tooltip="Load these low-rank weights")
        self.load.on_click(lambda _: self._load())
        self.message, self.list = status_line(), w.VBox()
        button, box = hidden_part(
            [self.place, self.scale, self.load, self.message, self.list],
            "Low-rank weights: a style or a subject that was trained for this model",
            "LoRA",
        )
        self.more = button
        super().__init__([button, box])
        self.layout.display = None if adapters.is_possible else "none"

    def follow(self, prompt: w.Textarea) -> None:
        """Let clicks put words into this prompt."""
        self._prompt = prompt
        for row in self.rows.values():
            row.enable_words()

    def show(self) -> None:
        """Bring everything to the state of the adapters."""
        state = self._adapters.state
        self.load.disabled = state.is_busy
        tone = "error" if state.error else "wait" if state.is_busy else "plain"
        self.message.value = status_html(state.error or state.message, tone)
        known = {lora.name: lora for lora in state.loaded}
        gone = [
            self.rows.pop(name)
            for name, row in [*self.rows.items()]
            if name not in known or row.words != known[name].words
        ]
        for name, lora in known.items():
            if name not in self.rows:
                self.rows[name] = LoraRow(self._adapters, lora, self._add_word)
                if self._prompt is not None:
                    self.rows[name].enable_words()
            self.rows[name].show(lora)
        if gone or len(self.list.children) != len(known):
            self.list.children = [self.rows[name].widget for name in known]
        for row in gone:
            close_all(row.widget)

    def _load(self) -> None:
        try:
            self._adapters.load(self.place.value, self.scale.value)
        except REFUSALS as error:
            self._adapters.show_refusal(error)

    def _add_word(self, word: str) -> None:
        """Write a word behind the prompt, unless it is there."""
        if self._prompt is None:
            return
        written = [part.strip() for part in self._prompt.value.split(",")]
        if word not in written:
            self._prompt.value = ", ".join(filter(None, [self._prompt.value.rstrip(" ,"), word]))


class LoraRow:
    """Low-rank weights that are loaded: how strong, away with them, and the words for them.

    Args:
        adapters: what is asked.
        lora: what is shown.
        add_word: is called with a word that was clicked.
    """

    def __init__(self, adapters: LoraAdapters, lora: LoadedLora, add_word: Any) -> None:
        self._adapters, self.name, self.words = adapters, lora.name, lora.words
        self._showing = threading.local()
        self.scale = w.FloatText(
            description=lora.name, step=0.05, layout={"width": "auto"},
            style={"description_width": "initial"},
        )  # fmt: skip
        self.remove = w.Button(
            description=f"Remove {lora.name}", tooltip="Forget these weights",
            layout={"width": "auto"},
        )  # fmt: skip
        self.buttons = [
            w.Button(
                description=word, tooltip=f"Put {word!r} into the prompt", disabled=True,
                layout={"width": "auto"},
            )
            for word in lora.words
        ]  # fmt: skip
        for button in self.buttons:
            button.add_class("dpnb-chip")
            button.on_click(lambda clicked: add_word(clicked.description))
        self.scale.observe(self._on_scale, "value")
        self.remove.on_click(lambda _: self._ask(partial(adapters.remove, lora.name)))
        self.widget = w.Box([self.scale, self.remove, *self.buttons])
        self.widget.add_class("dpnb-row")

    def enable_words(self) -> None:
        """There is a prompt for the words."""
        for button in self.buttons:
            button.disabled = False

    def show(self, lora: LoadedLora) -> None:
        """Show how strong it is; where parts have factors of their own, code alone changes them."""
        self._showing.now = True
        try:
            self.scale.disabled = lora.scale is None
            self.scale.value = 1.0 if lora.scale is None else lora.scale
        finally:
            self._showing.now = False

    def _on_scale(self, change: Any) -> None:
        if not vars(self._showing).get("now", False):
            self._ask(partial(self._adapters.set_scale, self.name, change["new"]))

    def _ask(self, request: Any) -> None:
        try:
            request()
        except REFUSALS as error:
            self._adapters.show_refusal(error)
            self._adapters.refresh()
