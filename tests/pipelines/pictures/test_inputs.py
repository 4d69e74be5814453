"""One picture in many forms is one picture, and what could be two things is refused."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import dpnb
from dpnb.pipelines.pictures.inputs import Pictures
from tests.pictures import HEIGHT, WIDTH, mask, picture

pytestmark = pytest.mark.exhaustive

LEVELS = np.asarray(picture())
GREY = np.asarray(picture().convert("L"))
ALPHA = np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
RGBA = np.dstack((LEVELS, ALPHA))
LA = np.dstack((GREY, ALPHA))


def first(array: np.ndarray[Any, Any]) -> Tensor:
    """As a tensor, channels first."""
    return torch.from_numpy(np.moveaxis(array, -1, 0).copy())


COLOURED: dict[str, Any] = {
    "PIL": picture(),
    "PIL RGBA": Image.fromarray(RGBA),
    "PIL RGBX": Image.frombytes("RGBX", (WIDTH, HEIGHT), RGBA.tobytes()),
    "array": LEVELS,
    "array of floats": LEVELS / 255,
    "array of float16": (LEVELS / 255).astype(np.float16),
    "array, big-endian": (LEVELS / 255).astype(">f4"),
    "array, turned twice": LEVELS[::-1][::-1],
    "array that is read only": np.broadcast_to(LEVELS, LEVELS.shape),
    "array RGBA": RGBA,
    "array RGBA of floats": RGBA / 255,
    "arrays RGBA": RGBA[None],
    "tensor": first(LEVELS),
    "tensor of floats": first(LEVELS) / 255,
    "tensor RGBA": first(RGBA),
    "tensors RGBA": first(RGBA)[None],
    "list of one tensor RGBA": [first(RGBA)],
    "signed tensor": first(LEVELS) / 127.5 - 1,
}

GREYS: dict[str, Any] = {
    "PIL": picture().convert("L"),
    "PIL LA": Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]),
    "PIL of 16 bits": Image.fromarray(GREY.astype(np.uint16) * 257),
    "array": GREY,
    "array with a channel": GREY[..., None],
    "array LA": LA,
    "array LA of floats": LA / 255,
    "arrays": GREY[None, ..., None],
    "tensor": torch.from_numpy(GREY.copy()),
    "tensor with a channel": first(GREY[..., None]),
    "tensor LA": first(LA),
    "tensor LA of floats": first(LA) / 255,
    "three channels": np.dstack([GREY] * 3),
}


@pytest.fixture(scope="module")
def base() -> Any:
    pipe = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def img2img(base: Any) -> Any:
    pipe = dpnb.StableDiffusionImg2ImgPipeline.from_pipe(base)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def inpaint(base: Any) -> Any:
    pipe = dpnb.StableDiffusionInpaintPipeline.from_pipe(base)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def read(pipe: Any, image: Any) -> Tensor:
    """What a pipeline encodes of `image`."""
    arguments = pipe.resolve_size(_arguments(pipe, image))
    assert not pipe.holds_latents(arguments.image)
    picture: Tensor = arguments.image.image(arguments.height, arguments.width)
    return picture.float()


def _arguments(pipe: Any, image: Any, **others: Any) -> Any:
    from dpnb.pipelines.image_to_image import PictureArguments

    return PictureArguments("a cat", image=image, **others)


@pytest.mark.parametrize("form", COLOURED)
def test_a_picture_is_the_same_in_every_form(img2img: Any, form: str) -> None:
    wanted = first(LEVELS)[None] / 127.5 - 1
    assert torch.allclose(read(img2img, COLOURED[form]), wanted, atol=1e-3)


@pytest.mark.parametrize("form", GREYS)
def test_a_grey_picture_is_the_same_in_every_form(img2img: Any, form: str) -> None:
    wanted = (torch.from_numpy(GREY.copy()) / 127.5 - 1).expand(1, 3, -1, -1)
    assert torch.allclose(read(img2img, GREYS[form]), wanted, atol=1e-3)


@pytest.mark.parametrize("form", ["array RGBA", "tensor RGBA", "tensors RGBA", "PIL RGBA"])
def test_what_is_drawn_from_rgba_is_what_is_drawn_from_rgb(img2img: Any, form: str) -> None:
    plain, drawn = (
        img2img(
            "a cat",
            image=one,
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images
        for one in (LEVELS, COLOURED[form])
    )
    assert np.allclose(plain, drawn, atol=1e-6)


@pytest.mark.parametrize("mode", ["P", "1", "CMYK", "YCbCr", "HSV", "PA", "La", "RGBa"])
def test_every_mode_shows_what_pil_shows(img2img: Any, mode: str) -> None:
    alpha = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode)
    image = (picture().convert(alpha) if alpha else picture()).convert(mode)
    shown = image.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, "RGB")).convert("RGB")
    wanted = first(np.asarray(shown))[None] / 127.5 - 1
    assert torch.allclose(read(img2img, image), wanted, atol=1e-6)


def test_truths_are_black_and_white(img2img: Any) -> None:
    truths = GREY > 127
    for form in (truths, truths[..., None], torch.from_numpy(truths), np.dstack([truths] * 4)):
        levels = read(img2img, form)
        assert torch.equal(levels[0, 0] > 0, torch.from_numpy(truths))
        assert levels.unique().tolist() == [-1, 1]


def test_a_list_may_mix_what_has_one_shape(img2img: Any) -> None:
    given = [LEVELS, first(LEVELS), first(LEVELS) / 255, LEVELS / 255]
    pictures = Pictures.parse("image", given)
    assert len(pictures) == 4
    assert not pictures.may_be_latents
    content = pictures.content
    assert isinstance(content, Tensor)
    assert all(torch.allclose(one.float(), content[0].float(), atol=1e-6) for one in content)


def test_latents_are_tensors_of_floats_alone(img2img: Any) -> None:
    latents = torch.randn(1, 4, 8, 12)
    known: list[Any] = [latents, latents[0], latents.half(), [latents, latents]]
    others: list[Any] = [latents.numpy(), latents.to(torch.uint8), latents.int()]
    assert all(img2img.holds_latents(Pictures.parse("image", given)) for given in known)
    assert not any(img2img.holds_latents(Pictures.parse("image", given)) for given in others)


class Deep:
    """No picture at all."""


REFUSED: list[tuple[Any, str]] = [
    (torch.rand(1, 4, 16, 24) / 2, r"4 channels with numbers in \[0, 1\], and may hold colours or"),
    (torch.rand(4, 16, 24), r"may hold colours or latents; give colours with three channels"),
    (np.random.default_rng(0).normal(size=(16, 24, 4)), "4 channels and negative numbers, which"),
    (torch.randn(2, 16, 24), "2 channels and negative numbers"),
    (np.zeros((16, 24, 5)), "image has 5 channels; a picture has 3, and latents have 4"),
    (np.zeros((3, 16, 24)), "Channels come last in arrays, and before height and width in tensors"),
    (torch.zeros(16, 24, 3, dtype=torch.uint8), "image has 16 channels"),
    (LEVELS.astype(np.int64), "image holds numbers up to 255; .* divide them by 255, or use dtype"),
    (LEVELS.astype(np.uint16) * 257, "holds numbers up to 65535; .* 65535 with 16 bits"),
    (torch.from_numpy(LEVELS.astype(np.int32)).permute(2, 0, 1), "holds numbers up to 255"),
    (LEVELS * 1.0, "holds numbers up to 255"),
    (np.full((16, 24, 3), nan), "image holds NaN or infinity; give finite numbers"),
    (torch.full((1, 4, 8, 12), inf), "image holds NaN or infinity"),
    (torch.full((1, 3, 8, 12), -inf), "image holds NaN or infinity"),
    (np.zeros((0, 24, 3)), r"image has shape \(0, 24, 3\), which holds no pixels"),
    (torch.zeros(1, 3, 0, 8), "which holds no pixels"),
    (np.zeros(()), r"image has shape \(\); a picture has height, width and channels"),
    (np.zeros((1, 1, 16, 24, 3)), "a picture has height, width and channels"),
    (np.zeros((16, 24, 3), dtype=complex), "image is an array of dtype complex128; give numbers"),
    (np.full((16, 24), "a"), "image is an array of dtype <U1; give numbers"),
    (np.full((16, 24), None), "image is an array of dtype object; give numbers"),
    (torch.zeros(3, 16, 24, dtype=torch.complex64), "of dtype torch.complex64; give real numbers"),
    (Image.new("F", (24, 16)), "image is of PIL's mode F, whose numbers have no known range"),
    (Image.new("I", (24, 16)), "image is of PIL's mode I, whose numbers have no known range"),
    (Image.new("RGB", (0, 16)), "image is 0 x 16 pixels; it has none"),
    ([picture(), LEVELS], "image is of type Image, ndarray"),
    ([first(LEVELS), first(RGBA)], "image holds pictures of different shapes"),
    ([[picture()]], "image is of type list; give a PIL picture"),
    (b"png", "image is of type bytes"),
    (Deep(), "image is of type Deep"),
]


@pytest.mark.parametrize(("image", "sentence"), REFUSED, ids=[case[1][:30] for case in REFUSED])
def test_what_could_be_two_things_is_refused(img2img: Any, image: Any, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        img2img.stream("a cat", image=image)
    assert "\n" not in str(caught.value)


WHITE = np.asarray(mask())
MASKS: dict[str, Any] = {
    "PIL": mask(),
    "PIL of bits": mask().convert("1"),
    "PIL RGB": mask().convert("RGB"),
    "PIL RGBA, opaque": mask().convert("RGBA"),
    "PIL LA, opaque": mask().convert("LA"),
    "PIL P": mask().convert("P"),
    "PIL of 16 bits": Image.fromarray(WHITE.astype(np.uint16) * 257),
    "array": WHITE,
    "array with a channel": WHITE[..., None],
    "arrays": WHITE[None],
    "arrays with a channel": WHITE[None, ..., None],
    "floats": WHITE / 255,
    "truths": WHITE > 0,
    "whole numbers": (WHITE > 0).astype(np.int64),
    "tensor": torch.from_numpy(WHITE.copy()),
    "tensor with a channel": torch.from_numpy(WHITE.copy())[None],
    "tensor with all axes": torch.from_numpy(WHITE.copy())[None, None],
}


@pytest.mark.parametrize("form", MASKS)
def test_a_mask_is_the_same_in_every_form(form: str) -> None:
    pictures = Pictures.parse("mask_image", MASKS[form], is_mask=True)
    assert pictures.size == (HEIGHT, WIDTH)
    assert pictures.channels in (None, 1)
    assert torch.equal(
        pictures.mask(HEIGHT, WIDTH).float()[0, 0], torch.from_numpy(WHITE / 255).float()
    )


HOLED = Image.fromarray(np.dstack([np.zeros_like(LEVELS), WHITE]))
REFUSED_MASKS: list[tuple[Any, str]] = [
    (HOLED, "mask_image has transparent pixels; a mask says it by white"),
    (HOLED.convert("LA"), "mask_image has transparent pixels"),
    (np.asarray(HOLED), "mask_image has 4 channels; a mask has one"),
    (np.dstack([WHITE] * 3), "mask_image has 3 channels; a mask has one"),
    (np.dstack([WHITE] * 2), "mask_image has 2 channels; a mask has one"),
    (torch.from_numpy(np.stack([WHITE] * 3)), "mask_image holds 3 pictures for 1 that are drawn"),
    (WHITE.astype(np.int64), "mask_image holds numbers up to 255"),
    (WHITE / 127.5 - 1, "mask_image holds -1; a mask is 1 where to draw"),
    (np.full((HEIGHT, WIDTH), nan), "mask_image holds NaN or infinity"),
    (Image.new("F", (WIDTH, HEIGHT)), "mask_image is of PIL's mode F"),
    (Image.new("L", (0, 0)), "mask_image is 0 x 0 pixels"),
]


@pytest.mark.parametrize(
    ("given", "sentence"), REFUSED_MASKS, ids=[case[1][:30] for case in REFUSED_MASKS]
)
def test_a_mask_that_is_none_is_refused(inpaint: Any, given: Any, sentence: str) -> None:
    size = {"height": HEIGHT, "width": WIDTH}
    with pytest.raises((ValueError, TypeError), match=sentence):
        inpaint.stream("a cat", image=picture(), mask_image=given, **size)
