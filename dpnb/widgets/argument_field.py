"""The field with which a person sets an argument of a pipeline's call."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from dpnb.numbers import parse_int, parse_number
from dpnb.pipelines.call_arguments import ArgumentKind, CallArgument
from dpnb.widgets.literals import is_literal

LABEL = {"description_width": "initial"}

LONG = 60
"""Letters of a text that has several lines."""

OWN = "the pipeline's own"

GUIDANCE = 50.0
"""The most that a field of guidance takes, where its own default is not more."""

SHARES = ("strength", "_start", "_end", "_rescale", "_ratio")
"""How numbers are called that lie in [0, 1]."""


def _parse_numbers(name: str, value: Any) -> Any:
    """A number, or numbers in lists or tuples.

    Raises:
        TypeError: it holds something else.
    """
    if isinstance(value, (list, tuple)):
        for one in value:
            _parse_numbers(name, one)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {value!r}; write {ArgumentKind.NUMBERS.value}.")
    return value


PARSERS: dict[ArgumentKind, Callable[[str, Any], Any]] = {
    ArgumentKind.COUNT: parse_int,
    ArgumentKind.NUMBER: parse_number,
    ArgumentKind.NUMBERS: _parse_numbers,
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
        if text == self._write(self._default) or not text:
            return None
        return self._parse(text)

    def set(self, value: Any) -> bool:
        """Show this value; `None` shows the call's own.

        Returns:
            Whether it can be shown here; where it cannot, the call's own is.
        """
        is_shown = value is None or self._can_show(value)
        shown = value if is_shown and value is not None else self._default
        if isinstance(self.widget, (w.BoundedFloatText, w.BoundedIntText)):
            self.widget.min = min(self.widget.min, shown)
            self.widget.max = max(self.widget.max, shown)
        self.widget.value = self._write(shown) if self._is_text else shown
        return is_shown

    def _can_show(self, value: Any) -> bool:
        if self.argument.kind is ArgumentKind.TEXT:
            return isinstance(value, str)
        if self._is_text:
            return is_literal(value)
        if isinstance(self.widget, w.Dropdown):
            return value in self.argument.choices
        if isinstance(self.widget, w.Checkbox):
            return isinstance(value, bool)
        kinds = (int,) if isinstance(self.widget, w.IntText) else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool)

    @staticmethod
    def _write(value: Any) -> str:
        return value if isinstance(value, str) else "" if value is None else repr(value)

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
        argument, kind, default = self.argument, self.argument.kind, self._default
        said = argument.documentation.summary
        tooltip = f"{argument.name}: {said}" if said else argument.name
        settings: dict[str, Any] = {"description": self.label, "tooltip": tooltip}
        if kind is ArgumentKind.FLAG and isinstance(default, bool):
            return w.Checkbox(value=default, indent=False, **settings)
        settings |= {"style": LABEL, "layout": {"width": "100%"}}
        if argument.choices:
            first = argument.choices[0] if argument.is_required else default
            return w.Dropdown(options=argument.choices, value=first, **settings)
        if kind is not ArgumentKind.NUMBERS and isinstance(default, (int, float)):
            return self._build_number(default, settings)
        text = self._write(default)
        hint = kind.value if argument.is_required else OWN
        if kind is not ArgumentKind.TEXT and len(text) <= LONG:
            return w.Text(value=text, placeholder=hint, **settings)
        words = w.Textarea(value=text, placeholder=hint, rows=1, **settings)
        words.add_class("dpnb-words")
        return words

    def _build_number(self, default: float, settings: dict[str, Any]) -> w.Widget:
        """A field of a number; what steers or is a share has bounds."""
        name = self.argument.name
        if self.argument.kind is ArgumentKind.COUNT:
            return w.IntText(value=default, **settings)
        most = None
        if "guidance_scale" in name:
            most = GUIDANCE
        elif name.endswith(SHARES) and 0 <= default <= 1:
            most = 1.0
        if most is None or default < 0:
            return w.FloatText(value=default, step=0.1, **settings)
        step = 0.5 if most == GUIDANCE else 0.05
        return w.BoundedFloatText(
            value=default, min=0.0, max=max(most, default), step=step, **settings
        )
