"""What a docstring says of an argument becomes a sentence and choices."""

from __future__ import annotations

from typing import Literal

import pytest

from dpnb.pipelines.call_arguments import ArgumentKind, CallSignature
from dpnb.pipelines.call_documentation import LONGEST, read_documentation

DOCSTRING = """
    Draw.

    Args:
        prompt (`str` or `list[str]`, *optional*):
            What to draw. Leave it out where `prompt_embeds` are given: those
            come first.
        mode (`str`, defaults to `"move"`): Choose between `"move"` and
            `"replace"`. With "other" nothing happens.
        language (`str`): A code (e.g., `"en"`, `"zh"`).
        resample (`str`, *optional*, defaults to `"area"`):
            How. The accepted values are: `"nearest"`, `"nearest-exact"`, or `"area"`.

    Returns:
        A picture: see [the paper](https://example.org/1).
    """


def call(
    self: object,
    prompt: str,
    mode: str = "move",
    language: str = "en",
    resample: str = "area",
    size: Literal["small", "large"] = "small",
) -> None:
    """A call as pipelines have them."""


call.__doc__ = DOCSTRING
call.__annotations__["size"] = Literal["small", "large"]


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("mode", ("move", "replace")),
        ("language", ()),
        ("resample", ("nearest", "nearest-exact", "area")),
        ("size", ("small", "large")),
    ],
)
def test_choices_are_those_that_are_listed(name: str, choices: tuple[str, ...]) -> None:
    argument = CallSignature.of(call).find(name)
    assert argument is not None
    assert argument.choices == choices
    assert (argument.kind is ArgumentKind.CHOICE) == bool(choices)


def test_the_first_sentence_is_shown() -> None:
    found = read_documentation(DOCSTRING)
    assert found["prompt"].summary == "What to draw."
    assert "come first" in found["prompt"].text
    assert "Returns" not in found["resample"].text
    long = read_documentation(f"Args:\n    size (`int`): {'very ' * 100}long.\n")
    assert len(long["size"].summary) == LONGEST
    assert read_documentation(None) == {}
