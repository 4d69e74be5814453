"""Runs that begin with a picture: their stages, and what is refused at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.stages import Stage
from dpnb.strategies.out_of_memory import OutOfMemoryError
from tests.pictures import HEIGHT, WIDTH, mask, picture

STEPS: dict[str, Any] = {"num_inference_steps": 4, "output_type": "np"}


def over(base: Any, kind: str) -> Any:
    pipe = getattr(dpnb, kind).from_pipe(base)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def base() -> Any:
    return dpnb.random_pipeline("tiny-sd")


@pytest.fixture(scope="module")
def img2img(base: Any) -> Any:
    return over(base, "StableDiffusionImg2ImgPipeline")


@pytest.fixture(scope="module")
def inpaint(base: Any) -> Any:
    return over(base, "StableDiffusionInpaintPipeline")


@pytest.fixture(scope="module")
def xl() -> Any:
    return over(dpnb.random_pipeline("tiny-sdxl"), "StableDiffusionXLImg2ImgPipeline")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_components_are_those_of_the_base(base: Any, img2img: Any, inpaint: Any) -> None:
    for pipe in (img2img, inpaint):
        assert all(part is base.components[name] for name, part in pipe.components.items())
    base.strategies.enable(dpnb.AttentionSlicing())
    assert img2img.strategies.active == inpaint.strategies.active == {dpnb.AttentionSlicing()}
    base.strategies.use([])


@pytest.mark.slow
def test_pictures_are_encoded_in_a_stage_of_their_own(inpaint: Any) -> None:
    arguments = {"image": picture(), "mask_image": mask(), "strength": 0.5, **STEPS}
    steps = list(inpaint.stream("a cat", generator=seeded(), **arguments))
    assert [s.stage for s in steps] == [
        Stage.TEXT,
        Stage.ENCODING,
        *[Stage.DENOISING] * 2,
        Stage.DECODING,
    ]
    assert steps[1].latents is not None
    assert inpaint.num_timesteps == 2
    with dpnb.record(inpaint, TensorMeter()) as trace:
        inpaint("a cat", generator=seeded(), **arguments)
    assert list(trace.by_stage()) == ["text", "encoding", "denoising", "decoding"]
    with inpaint.strategies.using(dpnb.VaeTiling(1)), dpnb.record(inpaint, TensorMeter()) as tiled:
        inpaint("a cat", generator=seeded(), **{**arguments, "height": 64, "width": 64})
    assert tiled.by_stage()["encoding"].peak > 0


def test_what_is_not_masked_stays(inpaint: Any) -> None:
    levels = torch.from_numpy(np.asarray(picture(), dtype=np.float32) / 255).permute(2, 0, 1)
    known = inpaint.encode_pictures(2 * levels[None] - 1, seeded())
    drawn = inpaint(
        "a cat",
        image=picture(),
        mask_image=mask(),
        height=HEIGHT,
        width=WIDTH,
        strength=0.5,
        generator=seeded(),
        **{**STEPS, "output_type": "latent"},
    ).images
    inside = torch.from_numpy(np.array(mask())).view(HEIGHT // 2, 2, WIDTH // 2, 2)[:, 0, :, 0] > 0
    assert torch.allclose(drawn[:, :, ~inside], known[:, :, ~inside], atol=1e-6)
    assert not torch.allclose(drawn[:, :, inside], known[:, :, inside], atol=0.1)


def test_less_strength_keeps_more_of_the_picture(img2img: Any) -> None:
    given = np.asarray(picture(), dtype=np.float32) / 255

    def distance(strength: float) -> float:
        made = img2img("a cat", image=given, strength=strength, generator=seeded(), **STEPS)
        whole = img2img("a cat", image=given, strength=0.25, generator=seeded(), **STEPS)
        return float(np.abs(made.images - whole.images).mean())

    assert 0 == distance(0.25) < distance(0.5) < distance(1.0)


def test_a_picture_of_8_bits_is_one_of_shares(img2img: Any) -> None:
    arguments = {"strength": 0.5, **STEPS}
    levels = np.asarray(picture())
    images = [
        img2img("a cat", image=form, generator=seeded(), **arguments).images
        for form in (picture(), levels, torch.from_numpy(levels.copy()).permute(2, 0, 1))
    ]
    assert np.abs(images[0] - images[1]).max() < 1e-5
    assert np.abs(images[0] - images[2]).max() < 1e-5


def test_a_size_that_is_asked_for_is_drawn(img2img: Any) -> None:
    image = img2img("a cat", image=picture(), height=32, width=16, **STEPS).images
    assert image.shape == (1, 32, 16, 3)
    grey = img2img("a cat", image=picture().convert("L"), **STEPS).images
    assert grey.shape == (1, HEIGHT, WIDTH, 3)


def test_a_mask_of_a_network_that_does_not_see_it_is_not_encoded(inpaint: Any) -> None:
    calls = []
    handle = inpaint.vae.encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    inpaint("a cat", image=picture(), mask_image=mask(), strength=0.5, **STEPS)
    handle.remove()
    assert len(calls) == 1


def test_copies_of_one_picture_are_encoded_once(img2img: Any) -> None:
    calls = []
    handle = img2img.vae.encoder.register_forward_pre_hook(
        lambda _, given: calls.append(len(given[0]))
    )
    generators = [seeded(seed) for seed in range(3)]
    img2img(["a", "b", "c"], image=picture(), generator=generators, **STEPS)
    handle.remove()
    assert calls == [1]


def test_memory_that_runs_out_while_a_picture_is_encoded_names_a_memory_saver(
    img2img: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError("no memory left")

    with monkeypatch.context() as patch:
        patch.setattr(img2img.vae.encoder, "forward", fail)
        with pytest.raises(OutOfMemoryError, match="while the picture was encoded") as caught:
            img2img("a cat", image=picture(), **STEPS)
    assert caught.value.relief == dpnb.VaeTiling()


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"image": None}, "StableDiffusionImg2ImgPipeline begins with a picture; give image="),
    ({"image": "cat.png"}, "image is of type str; .* A file is opened with PIL.Image.open"),
    ({"image": []}, "image is an empty list"),
    ({"image": [picture(), np.zeros((8, 8, 3))]}, "image is of type Image, ndarray; give a PIL"),
    (
        {"image": torch.zeros(5, 16, 16)},
        "image has 5 channels; a picture has 3, and latents have 4",
    ),
    (
        {"image": torch.zeros(3)},
        r"image has shape \(3,\); a picture has height, width and channels",
    ),
    (
        {"image": [torch.zeros(3, 16, 16), torch.zeros(3, 16, 24)]},
        "image holds pictures of different shapes",
    ),
    (
        {"image": np.full((16, 24, 3), 255.0)},
        r"image holds numbers up to 255; they must be in \[0, 1\], or whole numbers of 8 bits",
    ),
    ({"image": picture(0, 1, 8)}, "image is 8 x 1 pixels; give one of at least 2 x 2"),
    (
        {"image": [picture(), picture()]},
        "image holds 2 pictures for 1 that are drawn; give one, or",
    ),
    ({"image": torch.zeros(1, 4, 8, 8), "height": 32}, "image holds latents of 16 x 16 pixels"),
    ({"strength": 1.5}, "strength is 1.5; it is the share of the schedule that is gone through"),
    ({"strength": -0.1}, "strength is -0.1"),
    (
        {"strength": 0.1},
        "strength is 0.1, which leaves none of 4 steps; use at least 0.25, or more",
    ),
    ({"strength": 0.0}, "strength is 0.0, which leaves none of 4 steps"),
    ({"latents": torch.zeros(1, 4, 2, 2)}, r"latents has shape \(1, 4, 2, 2\)"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES, ids=[m[1][:30] for m in MISTAKES])
def test_mistakes_are_one_sentence(img2img: Any, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        img2img("a cat", **{"image": picture(), **STEPS, **arguments})


MASK_MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"mask_image": None}, "draws where a mask is white; give mask_image="),
    ({"mask_image": mask(16, 16)}, "mask_image is 16 x 16 and image 24 x 16; they must have one"),
    ({"mask_image": torch.zeros(1, 3, 16, 24)}, "mask_image has 3 channels; a mask has one"),
    ({"mask_image": [mask()] * 3}, "mask_image holds 3 pictures for 1 that are drawn"),
    ({"height": 15}, "height is 15; it must be a positive multiple of 2"),
    ({"padding_mask_crop": 4}, "padding_mask_crop cuts PIL pictures and puts them back"),
    (
        {"padding_mask_crop": 4, "output_type": "pil", "mask_image": mask(32, 48)},
        "mask_image is 48 x 32 and image 24 x 16; with padding_mask_crop they must have one size",
    ),
    ({"padding_mask_crop": -1, "output_type": "pil"}, "padding_mask_crop is -1; it is a number of"),
]


@pytest.mark.parametrize(
    ("arguments", "sentence"), MASK_MISTAKES, ids=[m[1][:30] for m in MASK_MISTAKES]
)
def test_mistakes_about_a_mask_are_one_sentence(
    inpaint: Any, arguments: dict[str, Any], sentence: str
) -> None:
    given = {"image": picture(), "mask_image": mask(), **STEPS, **arguments}
    with pytest.raises((ValueError, TypeError), match=sentence):
        inpaint.stream("a cat", **given)


def test_a_mask_may_be_of_truths(inpaint: Any) -> None:
    truths = np.asarray(mask()) > 0
    forms = (mask(), truths, torch.from_numpy(truths), torch.from_numpy(truths).long())
    size = {"height": HEIGHT, "width": WIDTH, "strength": 0.5}
    first, *others = (
        inpaint("a cat", image=picture(), mask_image=form, generator=seeded(), **size, **STEPS)
        for form in forms
    )
    assert all(np.array_equal(first.images, other.images) for other in others)


def test_a_black_mask_leaves_nothing_to_cut_out(inpaint: Any) -> None:
    black = mask().point(lambda _: 0)
    arguments = {"image": picture(), "mask_image": black, "padding_mask_crop": 1}
    with pytest.raises(ValueError, match="mask_image is black everywhere"):
        inpaint("a cat", num_inference_steps=2, **arguments)


def test_a_network_that_inpainting_cannot_use_is_refused(base: Any) -> None:
    from dpnb.pipelines.shapes.architectures import ARCHITECTURES

    unet = dpnb.UNet2DConditionModel(**{**ARCHITECTURES["tiny-sd"].unet, "in_channels": 5})
    pipe = dpnb.StableDiffusionInpaintPipeline.from_pipe(base, unet=unet)
    with pytest.raises(ValueError, match="the UNet takes 5 channels; inpainting needs one that"):
        pipe.stream("a cat", image=picture(), mask_image=mask())
    pipe.unet = dpnb.UNet2DConditionModel(**{**ARCHITECTURES["tiny-sd"].unet, "in_channels": 9})
    with pytest.raises(ValueError, match="latents cannot be masked for this UNet"):
        pipe.stream("a", image=torch.zeros(1, 4, 8, 12), mask_image=mask(), height=16, width=24)


XL_MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"denoising_start": 1.0},
        "denoising_start is 1.0; it is the share of the schedule that another",
    ),
    ({"denoising_start": 0.7, "denoising_end": 0.6}, "the end must come after the start"),
    ({"denoising_start": 0.999}, "no step of the schedule is left; begin earlier, or take more"),
    ({"strength": 0.3, "denoising_end": 0.1}, "no step of the schedule is left"),
]


@pytest.mark.parametrize(
    ("arguments", "sentence"), XL_MISTAKES, ids=[m[1][:30] for m in XL_MISTAKES]
)
def test_mistakes_about_a_part_of_the_schedule_are_one_sentence(
    xl: Any, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        xl("a cat", **{"image": picture(), **STEPS, **arguments})


def test_the_settings_of_a_refiner_are_named_where_they_do_not_fit(xl: Any) -> None:
    refiner = dpnb.StableDiffusionXLImg2ImgPipeline.from_pipe(xl, requires_aesthetics_score=True)
    with pytest.raises(ValueError, match="with requires_aesthetics_score=False"):
        refiner("a cat", image=picture(), strength=0.5, **STEPS)


def test_an_xl_autoencoder_in_half_precision_encodes_in_float32_and_returns(xl: Any) -> None:
    pipe = over(dpnb.random_pipeline("tiny-sdxl", dtype="bfloat16"), type(xl).__name__)
    dtypes = []
    handle = pipe.vae.encoder.register_forward_pre_hook(
        lambda _, given: dtypes.append(given[0].dtype)
    )
    image = pipe("a cat", image=picture(), strength=0.5, **STEPS).images
    handle.remove()
    assert dtypes == [torch.float32]
    assert pipe.vae.dtype is torch.bfloat16
    assert np.isfinite(image).all()
