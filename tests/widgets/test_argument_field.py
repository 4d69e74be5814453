"""A field shows what an argument may be, and says nothing where it is the call's own."""

from __future__ import annotations

from typing import Any, Literal

import ipywidgets as w
import pytest
import torch

from dpnb.pipelines.call_arguments import CallSignature
from dpnb.widgets.argument_field import ArgumentField


def call(
    self: object,
    prompt_2: str | None = None,
    mode: Any = "move",
    guidance_scale_2: float = 5,
    strength: float = 0.8,
    audio_scale: float = 2.5,
    layers: int = 4,
    clip_skip: int | None = None,
    size: tuple[int, int] = (0, 0),
    sigmas: list[float] | None = None,
    clean: bool = True,
    is_odd: bool | None = None,
) -> None:
    """A call as pipelines have them."""


for name, said in list(call.__annotations__.items()):
    call.__annotations__[name] = said.strip("\"'")
call.__annotations__["mode"] = Literal["move", "replace"]
SIGNATURE = CallSignature.of(call)


def field_of(name: str) -> ArgumentField:
    argument = SIGNATURE.find(name)
    assert argument is not None
    return ArgumentField(argument)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("prompt_2", w.Textarea, "a long one, " * 40),
        ("mode", w.Dropdown, "replace"),
        ("guidance_scale_2", w.BoundedFloatText, 7.5),
        ("strength", w.BoundedFloatText, 0.35),
        ("audio_scale", w.FloatText, 3.25),
        ("layers", w.IntText, 3),
        ("clip_skip", w.Text, 2),
        ("size", w.Text, (8, 16)),
        ("sigmas", w.Text, [1.0, 0.5]),
        ("clean", w.Checkbox, False),
        ("is_odd", w.Text, True),
    ],
)
def test_every_kind_of_value_is_shown_and_taken_back(
    name: str, kind: type[w.Widget], value: Any
) -> None:
    field = field_of(name)
    assert type(field.widget) is kind
    assert field.get() is None
    assert field.set(value)
    assert field.get() == value.strip() if isinstance(value, str) else field.get() == value
    assert field.set(None)
    assert field.get() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt_2", ["a", "b"]),
        ("mode", "fly"),
        ("strength", [0.5, 0.2]),
        ("layers", 1.5),
        ("layers", True),
        ("size", torch.zeros(2)),
        ("clean", 1),
    ],
)
def test_what_a_field_cannot_show_is_left_to_others(name: str, value: Any) -> None:
    field = field_of(name)
    assert not field.set(value)
    assert field.get() is None


def test_what_steers_and_what_is_a_share_have_bounds() -> None:
    steering, share = field_of("guidance_scale_2").widget, field_of("strength").widget
    assert (steering.min, steering.max, steering.step) == (0.0, 50.0, 0.5)
    assert (share.min, share.max, share.step) == (0.0, 1.0, 0.05)
    steering = field_of("guidance_scale_2")
    assert steering.set(80.0)
    assert steering.get() == 80.0


def test_words_are_no_numbers() -> None:
    field = field_of("sigmas")
    field.widget.value = "['a']"
    with pytest.raises(TypeError, match=r"sigmas is 'a'; write numbers, as in"):
        field.get()
    field.widget.value = "1, 0.5"
    assert field.get() == (1, 0.5)
