"""What a call takes is read from its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dpnb import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from dpnb.pipelines.call_arguments import ArgumentKind, CallSignature


def call(
    self: object,
    prompt: str | Sequence[str],
    negative_prompt_2: str | None = None,
    image: Any = None,
    mask_image: Any = None,
    height: int | None = None,
    guidance_scale: float | None = None,
    true_cfg_scale: float = 4.0,
    num_inference_steps: int = 9,
    num_frames: int = 17,
    clean: bool = True,
    sigmas: Sequence[float] | None = None,
    generator: Any = None,
    **kwargs: Any,
) -> None:
    """A call as pipelines have them."""


SIGNATURE = CallSignature.of(call)


@pytest.mark.parametrize(
    ("name", "kind", "unit"),
    [
        ("prompt", ArgumentKind.TEXT, ""),
        ("negative_prompt_2", ArgumentKind.TEXT, ""),
        ("image", ArgumentKind.PICTURE, ""),
        ("mask_image", ArgumentKind.PICTURE, ""),
        ("height", ArgumentKind.COUNT, "px"),
        ("guidance_scale", ArgumentKind.NUMBER, ""),
        ("num_frames", ArgumentKind.COUNT, "frames"),
        ("clean", ArgumentKind.FLAG, ""),
        ("sigmas", ArgumentKind.OTHER, ""),
    ],
)
def test_kinds_and_units(name: str, kind: ArgumentKind, unit: str) -> None:
    argument = SIGNATURE.find(name)
    assert argument is not None
    assert (argument.kind, argument.unit) == (kind, unit)


def test_what_must_be_given() -> None:
    assert [one.name for one in SIGNATURE if one.is_required] == ["prompt"]
    assert SIGNATURE.default("prompt") is None
    assert SIGNATURE.default("num_inference_steps") == 9
    assert SIGNATURE.is_open


def test_common_words_find_what_the_call_has() -> None:
    assert SIGNATURE.steps is not None
    assert SIGNATURE.steps.default == 9
    assert SIGNATURE.guidance is not None
    assert SIGNATURE.guidance.name == "true_cfg_scale"
    assert SIGNATURE.count is None
    assert [one.name for one in SIGNATURE.pictures] == ["image", "mask_image"]


def test_plumbing_is_nothing_to_set() -> None:
    assert "generator" not in [one.name for one in SIGNATURE.settings]
    assert "clean" in [one.name for one in SIGNATURE.settings]


def test_only_what_is_taken_and_given_is_selected() -> None:
    assert SIGNATURE.select({"height": 8, "width": 8, "image": None}) == {"height": 8}


@pytest.mark.parametrize("kind", [StableDiffusionPipeline, StableDiffusionImg2ImgPipeline])
def test_pipelines_of_our_own_say_what_they_take(kind: type) -> None:
    signature = CallSignature.of(kind.__call__)
    assert signature.steps is not None
    assert signature.steps.default == 50
    assert signature.guidance is not None
    assert signature.guidance.name == "guidance_scale"
    assert ("image" in signature) == (kind is StableDiffusionImg2ImgPipeline)


def test_a_function_is_read_once() -> None:
    assert CallSignature.of(call) is SIGNATURE
