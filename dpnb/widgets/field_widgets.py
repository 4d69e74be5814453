"""The widgets that fields of a request are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as w

LABEL = {"description_width": "5.5em"}


def menu(label: str, options: Any, value: Any) -> w.Dropdown:
    """A menu as wide as its place."""
    return w.Dropdown(
        options=options, value=value, description=label, style=LABEL, layout={"width": "auto"}
    )


def text_field(label: str, hint: str) -> w.Textarea:
    """A field of words, as high as they need."""
    field = w.Textarea(
        description=label, placeholder=hint, rows=1, style=LABEL, layout={"width": "auto"}
    )
    field.add_class("dpnb-words")
    return field


def number_field(
    label: str, value: float, least: float, most: float, step: float = 1
) -> w.BoundedIntText | w.BoundedFloatText:
    """A field of a number; of a fraction where `value` is one."""
    kind: Callable[..., Any] = w.BoundedFloatText if isinstance(value, float) else w.BoundedIntText
    return kind(
        value=value, min=least, max=most, step=step, description=label, style=LABEL,
        layout={"width": "auto"},
    )  # fmt: skip
