"""A part is not taken in place of another of another kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dpnb
from dpnb.errors import ComponentError
from tests.strategies.pipes import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd")
    build("tiny-sd").save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "text_encoder",
            "tokenizer",
            "Tokenizer, which is a tokenizer; give a network there, such",
        ),
        ("tokenizer", "text_encoder", "TextModel, which is a network; give a tokenizer there, su"),
        ("scheduler", "unet", "UNet2DConditionModel, which is a network; give a scheduler"),
        ("vae", "scheduler", "which is a scheduler; give a network there, such as a AutoencoderKL"),
    ],
)
def test_what_is_something_else_is_refused(
    folder: Path, name: str, given: str, message: str
) -> None:
    part = build("tiny-sd").components[given]
    with pytest.raises(ComponentError, match=f"^{name} is a .*{message}"):
        dpnb.StableDiffusionPipeline.from_pretrained(folder, **{name: part})


def test_the_name_of_a_part_is_none(folder: Path) -> None:
    with pytest.raises(ComponentError, match=r"vae is 'owner/vae'; .* AutoencoderKL\.from_pretr"):
        dpnb.StableDiffusionPipeline.from_pretrained(folder, vae="owner/vae")


def test_what_is_of_no_kind_is_taken_as_it_is(folder: Path) -> None:
    def check(images: Any, clip_input: Any) -> tuple[Any, list[bool]]:
        return images, [False] * len(images)

    parts = {"safety_checker": check, "feature_extractor": lambda images, **_: images}
    pipe = dpnb.StableDiffusionPipeline.from_pretrained(folder, text_encoder=None, **parts)
    assert pipe.safety_checker is check
