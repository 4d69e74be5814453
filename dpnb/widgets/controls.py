"""The widget with which a person sets a field of a strategy."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import ipywidgets as w
from typing_extensions import override

from dpnb.strategies.networks import Networks
from dpnb.strategies.settings import Setting
from dpnb.units import parse_bytes

MEBIBYTE = 1 << 20
MOST = 1 << 30
LABEL = {"description_width": "7.5em"}

Listener = Callable[[], None]


class Control(ABC):
    """Shows a value and lets it be changed.

    Attributes:
        widget: what is shown.
        inputs: the widgets whose value a person changes.
    """

    widget: w.Widget
    inputs: tuple[w.Widget, ...]

    @abstractmethod
    def get(self) -> Any:
        """The value that is shown.

        Raises:
            ValueError: what was typed is none.
        """

    @abstractmethod
    def set(self, value: Any) -> None:
        """Show this value."""

    def on_change(self, listener: Listener) -> None:
        """Call `listener` whenever a person has changed the value."""
        for part in self.inputs:
            part.observe(lambda _: listener(), "value")


class Flag(Control):
    """True or false."""

    def __init__(self, setting: Setting) -> None:
        self.widget = w.Checkbox(
            description=setting.label, indent=False, tooltip=setting.help, layout={"width": "auto"}
        )
        self.inputs = (self.widget,)

    @override
    def get(self) -> bool:
        return bool(self.widget.value)

    @override
    def set(self, value: bool) -> None:
        self.widget.value = value


class Choice(Control):
    """One of several values, or of these and a number of one's own."""

    NUMBER = "a number"

    def __init__(self, setting: Setting, networks: Networks) -> None:
        options = [(str(choice), choice) for choice in setting.choices]
        if setting.number is not None:
            options.append((self.NUMBER, self.NUMBER))
        self._menu = w.Dropdown(
            description=setting.label, options=options, tooltip=setting.help, style=LABEL
        )
        self._number = w.BoundedIntText(
            description=setting.label,
            **_bounds(setting, networks),
            layout={"width": "8em"},
            style={"description_width": "0"},
        )
        self._menu.layout.width = "auto"
        self._menu.observe(lambda _: self._reveal(), "value")
        self._reveal()
        self.widget = w.HBox([self._menu, self._number])
        self.inputs = (self._menu, self._number)

    @override
    def get(self) -> Any:
        return self._number.value if self._menu.value == self.NUMBER else self._menu.value

    @override
    def set(self, value: Any) -> None:
        is_listed = any(value == choice for _, choice in self._menu.options)
        if not is_listed:
            self._number.max = max(self._number.max, value)
            self._number.value = value
        self._menu.value = value if is_listed else self.NUMBER

    def _reveal(self) -> None:
        self._number.layout.display = None if self._menu.value == self.NUMBER else "none"


class Number(Control):
    """A number; where it has limits, on a slider as well. Bytes are shown in MiB."""

    def __init__(self, setting: Setting, networks: Networks) -> None:
        self._bytes, kind = setting.hints.unit == "bytes", setting.number
        self._kind = float if self._bytes else kind or float
        bounds = _bounds(setting, networks)
        label = f"{setting.label}{' (MiB)' if self._bytes else ''}"
        box = w.BoundedIntText if self._kind is int else w.BoundedFloatText
        self._box = box(
            description=label,
            **bounds,
            tooltip=setting.help,
            style=LABEL,
            layout={"width": "13.5em"},
        )
        if "step" in bounds and bounds["max"] < MOST:
            slide = w.IntSlider if self._kind is int else w.FloatSlider
            slider = slide(
                **bounds,
                readout=False,
                continuous_update=False,
                layout={"flex": "1 1 4em", "width": "auto", "min_width": "4em"},
            )
            w.link((self._box, "value"), (slider, "value"), transform=(_same, _rounded))
            self.widget = w.HBox([self._box, slider])
            self.widget.add_class("dpnb-dial")
        else:
            self.widget = self._box
        self.inputs = (self._box,)

    @override
    def get(self) -> Any:
        return round(self._box.value * MEBIBYTE) if self._bytes else self._kind(self._box.value)

    @override
    def set(self, value: Any) -> None:
        shown = parse_bytes(value) / MEBIBYTE if self._bytes else value
        self._box.min, self._box.max = min(self._box.min, shown), max(self._box.max, shown)
        self._box.value = shown


class TextField(Control):
    """Text, or a tuple written as Python or with commas."""

    def __init__(self, setting: Setting) -> None:
        self._default = setting.default
        self.widget = w.Text(
            description=setting.label,
            placeholder=setting.help,
            tooltip=setting.help,
            continuous_update=False,
            style=LABEL,
            layout={"width": "auto"},
        )
        self.inputs = (self.widget,)

    @override
    def get(self) -> Any:
        text = self.widget.value.strip()
        if not text:
            return self._default
        if text.startswith(("(", "[")):
            try:
                return _to_tuples(ast.literal_eval(text))
            except (SyntaxError, ValueError):
                raise ValueError(
                    f'{text} is not Python; write for example ("unet", "vae").'
                ) from None
        if isinstance(self._default, tuple):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return text

    @override
    def set(self, value: Any) -> None:
        if value == self._default:
            self.widget.value = ""
        elif isinstance(value, tuple) and all(isinstance(part, str) for part in value):
            self.widget.value = ", ".join(value)
        else:
            self.widget.value = str(value)


class Optional(Control):
    """Another control, or leaving the choice to the strategy."""

    def __init__(self, setting: Setting, inner: Control) -> None:
        self._inner = inner
        self._switch = w.Checkbox(
            description=f"choose {setting.label}",
            indent=False,
            tooltip=setting.help,
            layout={"width": "auto"},
        )
        self._switch.observe(lambda _: self._reveal(), "value")
        self._reveal()
        self.widget = w.VBox([self._switch, inner.widget])
        self.inputs = (self._switch, *inner.inputs)

    @override
    def get(self) -> Any:
        return self._inner.get() if self._switch.value else None

    @override
    def set(self, value: Any) -> None:
        if value is not None:
            self._inner.set(value)
        self._switch.value = value is not None

    def _reveal(self) -> None:
        self._inner.widget.layout.display = None if self._switch.value else "none"


def control_for(setting: Setting, networks: Networks) -> Control:
    """The control for a field, with limits that suit `networks`; shows the default."""
    control = _plain_control(setting, networks)
    if setting.is_optional and setting.number is not None:
        control = Optional(setting, control)
    control.set(setting.default)
    return control


def _plain_control(setting: Setting, networks: Networks) -> Control:
    if setting.choices:
        return Choice(setting, networks)
    if setting.is_flag:
        return Flag(setting)
    if setting.number is not None:
        return Number(setting, networks)
    return TextField(setting)


def _bounds(setting: Setting, networks: Networks) -> dict[str, Any]:
    """Least, most and step, as far as they are known, and where to begin."""
    hints, is_bytes = setting.hints, setting.hints.unit == "bytes"
    low, high = hints.limits(networks) if hints.limits is not None else (hints.low, hints.high)
    scale = MEBIBYTE if is_bytes else 1
    least = 1.0 if low is None else low / scale
    most = float(MOST) if high is None else max(high / scale, least)
    step = hints.step or (0.25 if is_bytes else 1 if high is not None else None)
    if is_bytes:
        least = -(-least // 0.25) * 0.25
        most = max(-(-most // 0.25) * 0.25, least)
    if setting.number is int and not is_bytes:
        least, most, step = int(least), int(most), None if step is None else int(step)
    found = {"min": least, "max": most, "value": least}
    return found if step is None else {**found, "step": step}


def _same(value: float) -> float:
    return value


def _rounded(value: float) -> float:
    """Without what a browser's arithmetic adds to a slider's steps."""
    return round(value, 9)


def _to_tuples(value: Any) -> Any:
    return tuple(_to_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
