"""How pictures go into a run and come out of it, where a caller has a say in that."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from PIL import Image

import dpnb
from dpnb.pipelines.foreign.image_processor import VaeImageProcessor
from tests.strategies.pipes import build


class Dark(VaeImageProcessor):
    """Makes pictures of nothing."""

    def postprocess(self, image: Any, output_type: str = "pil", do_denormalize: Any = None) -> Any:
        return "dark"


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-sdxl", "tiny-flux", "tiny-ldm"])
def test_what_was_set_makes_the_pictures(name: str) -> None:
    pipe: Any = build(name)
    given = {"num_inference_steps": 1, "height": 32, "width": 32}
    patch = 2 if name == "tiny-flux" else 1
    assert pipe.image_processor.config.vae_scale_factor == patch * pipe.vae_scale_factor
    pipe.image_processor = Dark()
    assert pipe("a cat", **given).images == "dark"
    assert copy.copy(pipe)("a cat", **given).images == "dark"
    pipe.image_processor = None
    assert isinstance(pipe("a cat", **given).images[0], Image.Image)


class Nothing(VaeImageProcessor):
    """Makes every picture grey."""

    def preprocess(self, image: Any, height: Any = None, width: Any = None, *_: Any) -> Any:
        return torch.zeros(1, 3, height, width)


def test_what_was_set_makes_what_a_run_begins_with() -> None:
    pipe: Any = dpnb.StableDiffusionImg2ImgPipeline.from_pipe(build("tiny-sd"))
    given = {"num_inference_steps": 2, "strength": 0.5, "output_type": "pt"}

    def draw(picture: Image.Image) -> torch.Tensor:
        images: torch.Tensor = pipe(
            "a cat", image=picture, generator=torch.manual_seed(0), **given
        ).images
        return images

    black, grey = (Image.new("RGB", (32, 32), (level,) * 3) for level in (0, 128))
    plain = draw(grey)
    assert not torch.allclose(draw(black), plain, atol=1e-2)
    pipe.image_processor = Nothing()
    torch.testing.assert_close(draw(black), draw(grey))


class Everything(VaeImageProcessor):
    """Draws everywhere, whatever a mask says."""

    def preprocess(self, image: Any, height: Any = None, width: Any = None, *_: Any) -> Any:
        return torch.ones(1, 1, height, width)


def test_a_mask_processor_makes_the_masks() -> None:
    pipe: Any = dpnb.StableDiffusionInpaintPipeline.from_pipe(build("tiny-sd"))
    picture = Image.linear_gradient("L").convert("RGB").resize((32, 32))
    given = {"num_inference_steps": 2, "height": 32, "width": 32, "output_type": "pt"}

    def draw(mask: Image.Image) -> torch.Tensor:
        seed = torch.manual_seed(0)
        images: torch.Tensor = pipe(
            "a cat", image=picture, mask_image=mask, generator=seed, **given
        ).images
        return images

    nothing, everything = (Image.new("L", (32, 32), level) for level in (0, 255))
    kept, drawn = draw(nothing), draw(everything)
    assert not torch.equal(kept, drawn)
    pipe.mask_processor = Everything()
    assert torch.equal(draw(nothing), drawn)
    pipe.mask_processor = None
    assert torch.equal(draw(nothing), kept)


def test_another_class_has_the_usual_one() -> None:
    pipe: Any = build("tiny-sd")
    pipe.image_processor = Dark()
    assert type(dpnb.StableDiffusionImg2ImgPipeline.from_pipe(pipe).image_processor) is not Dark


def test_a_checker_may_be_any_function() -> None:
    pipe: Any = build("tiny-sd")
    pipe.safety_checker = lambda images, clip_input: (images * 0, [True] * len(images))
    out = pipe("a cat", num_inference_steps=1, output_type="np")
    assert out.nsfw_content_detected == [True]
    assert out.images.max() == 0


def make_nothing(*_: Any, **__: Any) -> str:
    return "nothing"


def test_what_changed_of_the_usual_one_makes_the_pictures_of_copies_too() -> None:
    pipe: Any = build("tiny-sd")
    processor = pipe.image_processor
    assert pipe.image_processor is processor
    assert copy.deepcopy(pipe).image_processor is not processor
    given = {"num_inference_steps": 1, "height": 32, "width": 32}
    assert isinstance(copy.deepcopy(pipe)("a cat", **given).images[0], Image.Image)
    processor.postprocess = make_nothing
    assert pipe("a cat", **given).images == "nothing"
    assert copy.deepcopy(pipe)("a cat", **given).images == "nothing"
    pipe.image_processor = None
    assert isinstance(pipe("a cat", **given).images[0], Image.Image)
