"""The field with which a person sets an argument of a pipeline's call."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from dpnb.numbers import parse_int, parse_number
from dpnb.pipelines.call_arguments import ArgumentKind, CallArgument

LABEL = {"description_width": "initial"}

LONG = 60
"""Letters of a text that has several lines."""

OWN = "the pipeline's own"

PARSERS: dict[ArgumentKind, Callable[[str, Any], Any]] = {
    ArgumentKind.COUNT: parse_int,
    ArgumentKind.NUMBER: parse_number,
}


class ArgumentField:
    """Shows a value, or that the call's own is left to stand.

    Numbers and truths that have a default show it; what has none, or `None`, is a text that may be
    empty. What is no number, truth or text is written as Python.

    Args:
        argument: of the call.

    Attributes:
        widget: what is shown.
    """

    def __init__(self, argument: CallArgument) -> None:
        self.argument = argument
        self._default = None if argument.is_required else argument.default
        self.widget = self._build()

    def get(self) -> Any:
        """The value that is shown; `None` where it is the call's own.

        Raises:
            TypeError: what was written is not what the call takes.
            ValueError: likewise.
        """
        value = self.widget.value
        if not self._is_text:
            return None if value == self._default else value
        text = value.strip()
        if text == (self._default or "") or not text:
            return None
        return self._parse(text)

    def set(self, value: Any) -> None:
        """Show this value; `None` shows the call's own."""
        shown = self._default if value is None else value
        is_plain = isinstance(shown, str) or not self._is_text
        self.widget.value = shown if is_plain else "" if shown is None else repr(shown)

    @property
    def label(self) -> str:
        """What it is called, with its unit."""
        name, unit = self.argument.label.capitalize(), self.argument.unit
        return name if not unit or unit in self.argument.label.split() else f"{name} ({unit})"

    @property
    def _is_text(self) -> bool:
        return isinstance(self.widget, (w.Text, w.Textarea))

    def _parse(self, text: str) -> Any:
        kind, name = self.argument.kind, self.argument.name
        if kind is ArgumentKind.TEXT:
            return text
        try:
            value = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            raise ValueError(
                f"{name} is {text!r}; write {kind.value}, or leave it empty."
            ) from None
        return PARSERS[kind](name, value) if kind in PARSERS else value

    def _build(self) -> w.Widget:
        kind, default = self.argument.kind, self._default
        settings: dict[str, Any] = {"description": self.label, "tooltip": self.argument.name}
        if kind is ArgumentKind.FLAG:
            return w.Checkbox(value=bool(default), indent=False, **settings)
        settings |= {"style": LABEL, "layout": {"width": "100%"}}
        if isinstance(default, int):
            return w.IntText(value=default, **settings)
        if isinstance(default, float):
            return w.FloatText(value=default, **settings)
        text = default if isinstance(default, str) else ""
        hint = kind.value if self.argument.is_required else OWN
        build = w.Textarea if len(text) > LONG else w.Text
        return build(value=text, placeholder=hint, **settings)
