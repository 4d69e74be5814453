"""Methods that somebody has put in the place of a pipeline's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

import dpnb
from dpnb.pipelines.own_parts import UNCALLED, is_replaced
from tests.pipelines.derived import MASK, PICTURE
from tests.strategies.pipes import build

GIVEN = {"num_inference_steps": 1, "height": 32, "width": 32, "output_type": "latent"}


def test_nothing_is_replaced_in_pipelines_of_our_own() -> None:
    for name in ("tiny-sd", "tiny-sdxl", "tiny-flux"):
        pipe = build(name)
        assert not any(is_replaced(pipe, part) for part in (*UNCALLED, "prepare_latents"))


def test_a_method_counts_that_was_set_at_a_class_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe: Any = build("tiny-sd")
    kind = dpnb.StableDiffusionPipeline
    monkeypatch.setattr(kind, "prepare_latents", lambda *_: torch.zeros(1, 4, 16, 16))
    assert torch.isfinite(pipe("a cat", **GIVEN).images).all()
    assert is_replaced(pipe, "prepare_latents")


def test_checks_of_ones_own_see_pictures_as_they_were_given() -> None:
    pipe: Any = dpnb.StableDiffusionInpaintPipeline.from_pipe(build("tiny-sd"))
    seen: list[Any] = []
    pipe.check_inputs = lambda *given: seen.extend(given)
    pipe("a cat", image=PICTURE, mask_image=[MASK, MASK], num_images_per_prompt=2, **GIVEN)
    named = dict(zip(pipe.check_input_names, seen, strict=True))
    assert named["prompt"] == "a cat"
    assert named["height"] == 32
    assert isinstance(named["image"], Image.Image)
    assert len(named["mask_image"]) == 2
    assert named["ip_adapter_image"] is None


@pytest.mark.parametrize("name", ["get_timesteps", "prepare_mask_latents", "prepare_latents"])
def test_a_method_that_would_have_no_effect_is_refused(name: str) -> None:
    pipe: Any = dpnb.StableDiffusionInpaintPipeline.from_pipe(build("tiny-sd"))
    setattr(pipe, name, lambda *_: None)
    with pytest.raises(TypeError, match=f"has a {name} of your own, which its runs do not call"):
        pipe("a cat", image=PICTURE, mask_image=MASK, **GIVEN)
