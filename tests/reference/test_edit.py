"""The same pictures as diffusers where a run begins with a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dpnb
from tests.pictures import HEIGHT, WIDTH, mask, picture
from tests.reference import checkpoints
from tests.reference.checkpoints import diffusers
from tests.reference.pictures import assert_same, draw
from tests.reference.test_pipelines import SCHEDULERS

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

IMG2IMG, INPAINT = "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"
XL_IMG2IMG, XL_INPAINT = "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"

CASES = {
    "img2img": ("sd1", IMG2IMG, 4),
    "inpaint": ("sd1", INPAINT, 4),
    "inpaint-9": ("sd1", INPAINT, 9),
    "xl-img2img": ("sdxl", XL_IMG2IMG, 4),
    "xl-inpaint": ("sdxl", XL_INPAINT, 4),
    "xl-inpaint-9": ("sdxl", XL_INPAINT, 9),
}

TWO: dict[str, Any] = {"prompt": ["a cat", "dogs"], "negative_prompt": ["x", "y"]}

Pair = tuple[Any, Any]


@cache
def pipelines(case: str) -> Pair:
    """The pipeline of a case: ours, and diffusers' over the same tensors."""
    family, name, channels = CASES[case]
    base = checkpoints.pipeline(family, unet=checkpoints.unet(family, in_channels=channels))
    settings = {} if family == "sdxl" else {"requires_safety_checker": False}
    theirs = getattr(diffusers, name)(**base.components, **settings)
    return getattr(dpnb, name).from_pipe(theirs), theirs


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Both pipelines of a case, whose schedulers may be replaced."""
    both = pipelines(request.param)
    schedulers = [pipe.scheduler for pipe in both]
    yield both
    for pipe, scheduler in zip(both, schedulers, strict=True):
        pipe.scheduler = scheduler


def on_all(*cases: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pair", cases or CASES, indirect=True)


def schedule(pair: Pair, name: str, **settings: Any) -> None:
    for pipe, library in zip(pair, (dpnb, diffusers), strict=True):
        kind = getattr(library, name)
        pipe.scheduler = kind.from_config(pipe.scheduler.config, **settings)


def both(pair: Pair, *, generators: int = 0, **arguments: Any) -> None:
    """Assert that both draw the same from a picture."""
    settings: dict[str, Any] = {"image": picture(), "strength": 0.7, **arguments}
    if "Inpaint" in type(pair[0]).__name__:
        settings = {"mask_image": mask(), "height": HEIGHT, "width": WIDTH, **settings}
    made = []
    for pipe in pair:
        if generators:
            seeds = range(generators)
            settings["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]
        made.append(np.asarray(draw(pipe, **settings)).astype(float))
    if arguments.get("output_type") == "pil":
        assert np.abs(made[0] - made[1]).max() <= 1
    else:
        assert_same(*made)


@on_all("img2img")
@pytest.mark.parametrize(("name", "settings"), SCHEDULERS)
def test_every_scheduler_begins_amid_its_schedule(
    pair: Pair, name: str, settings: dict[str, Any]
) -> None:
    schedule(pair, name, **settings)
    both(pair)


@on_all("xl-inpaint")
@pytest.mark.parametrize(
    "name",
    [
        "DDIMScheduler",
        "PNDMScheduler",
        "HeunDiscreteScheduler",
        "EulerDiscreteScheduler",
        "DPMSolverMultistepScheduler",
    ],
)
def test_what_stays_has_the_noise_of_every_step(pair: Pair, name: str) -> None:
    schedule(pair, name, **({"skip_prk_steps": True} if name == "PNDMScheduler" else {}))
    both(pair, num_inference_steps=5)


@on_all("img2img", "inpaint", "inpaint-9", "xl-inpaint")
@pytest.mark.parametrize(
    "arguments",
    [
        {"strength": 1.0},
        {"guidance_scale": 1.0},
        {**TWO, "num_images_per_prompt": 2},
        {**TWO, "generators": 2},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_every_argument_means_the_same(pair: Pair, arguments: dict[str, Any]) -> None:
    schedule(pair, "EulerAncestralDiscreteScheduler")
    both(pair, **arguments)


def forms() -> dict[str, Callable[[], Any]]:
    array = np.random.default_rng(1).random((2, HEIGHT, WIDTH, 3), dtype=np.float32)
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
    return {
        "array": lambda: array[0],
        "arrays": lambda: array,
        "a list of arrays": lambda: [array[0], array[1]],
        "tensor": lambda: tensor[0],
        "tensors": lambda: tensor,
        "signed": lambda: 2 * tensor - 1,
        "pictures": lambda: [picture(1), picture(2)],
        "an odd size": lambda: picture(1, 21, 27),
    }


@on_all("xl-inpaint-9")
@pytest.mark.parametrize("form", forms())
def test_pictures_come_in_many_forms(pair: Pair, form: str) -> None:
    image = forms()[form]()
    is_many = isinstance(image, list) or getattr(image, "ndim", 0) == 4
    beside: dict[str, Any] = {"mask_image": mask(21, 27)} if form == "an odd size" else {}
    both(pair, image=image, **(TWO if is_many else {}), **beside)


@on_all("inpaint")
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (1, HEIGHT, WIDTH), (1, 1, HEIGHT, WIDTH)])
def test_masks_come_in_many_forms(pair: Pair, shape: tuple[int, ...]) -> None:
    levels = np.asarray(mask(), dtype=np.float32) / 255
    both(pair, mask_image=torch.from_numpy(levels).view(shape))


@on_all("inpaint", "xl-inpaint-9")
def test_masks_may_be_arrays_grey_or_coloured(pair: Pair) -> None:
    both(pair, mask_image=np.asarray(mask(), dtype=np.float32) / 255)
    both(pair, mask_image=picture(3))


@on_all("img2img", "xl-img2img", "xl-inpaint")
def test_a_picture_may_be_one_of_latents(pair: Pair) -> None:
    both(pair, image=torch.randn(1, 4, HEIGHT // 2, WIDTH // 2))


@on_all("inpaint", "xl-inpaint-9")
@pytest.mark.parametrize("padding", [3, 20])
def test_a_part_is_cut_out_and_put_back(pair: Pair, padding: int) -> None:
    both(
        pair,
        image=picture(4, 30, 45),
        mask_image=mask(30, 45),
        padding_mask_crop=padding,
        output_type="pil",
        **({"height": 24, "width": 16} if padding == 20 else {}),
    )


@on_all("inpaint", "xl-inpaint-9")
def test_given_latents_mean_the_same(pair: Pair) -> None:
    latents = torch.randn(1, 4, HEIGHT // 2, WIDTH // 2)
    both(pair, latents=latents)
    both(pair, masked_image_latents=latents)


@on_all("img2img", "xl-inpaint")
def test_custom_schedules_mean_the_same(pair: Pair) -> None:
    for name in ("EulerDiscreteScheduler", "HeunDiscreteScheduler"):
        schedule(pair, name)
        both(pair, timesteps=[900, 700, 400, 200, 10], strength=0.6)


@on_all("inpaint", "xl-inpaint-9")
def test_callbacks_see_and_change_the_same(pair: Pair) -> None:
    def change(_: Any, __: int, ___: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        factors = {"latents": 1.01, "mask": 0.9, "masked_image_latents": 1.1}
        return {name: tensors[name] * factor for name, factor in factors.items()}

    both(
        pair,
        callback_on_step_end=change,
        callback_on_step_end_tensor_inputs=["latents", "mask", "masked_image_latents"],
    )


@on_all("xl-img2img")
@pytest.mark.parametrize("name", ["DDIMScheduler", "HeunDiscreteScheduler"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"denoising_start": 0.4},
        {"denoising_start": 0.3, "denoising_end": 0.8},
        {"strength": 0.9, "denoising_end": 0.8},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_a_part_of_the_schedule_means_the_same(
    pair: Pair, name: str, arguments: dict[str, Any]
) -> None:
    schedule(pair, name)
    both(pair, num_inference_steps=6, **arguments)


@on_all("xl-img2img")
@pytest.mark.parametrize(
    "arguments",
    [
        {"original_size": (90, 20), "crops_coords_top_left": (5, 6), "target_size": (64, 48)},
        {"negative_original_size": (10, 20), "negative_crops_coords_top_left": (1, 2)},
        {"guidance_rescale": 0.7},
        {"prompt_2": "a second thought", "negative_prompt_2": "z"},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_the_arguments_of_xl_mean_the_same(pair: Pair, arguments: dict[str, Any]) -> None:
    both(pair, **{"prompt": "a", "negative_prompt": "b", **arguments})


def refiner() -> Any:
    """A refiner of diffusers': the second text encoder alone, and an aesthetic score."""
    unet = checkpoints.unet(
        "sdxl", cross_attention_dim=24, projection_class_embeddings_input_dim=8 * 5 + 20
    )
    base = checkpoints.pipeline("sdxl", unet=unet, text_encoder=None, tokenizer=None)
    kind = diffusers.StableDiffusionXLImg2ImgPipeline
    return kind(**base.components, requires_aesthetics_score=True)


def test_a_refiner_goes_on_where_the_base_has_stopped(tmp_path: Path) -> None:
    theirs = refiner()
    theirs.save_pretrained(tmp_path)
    ours = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    assert type(ours) is dpnb.StableDiffusionXLImg2ImgPipeline
    assert ours.text_encoder is None
    their_base = checkpoints.pipeline("sdxl")
    our_base = dpnb.StableDiffusionXLPipeline.from_pipe(their_base)
    made = []
    for base, pipe in ((our_base, ours), (their_base, theirs)):
        latents = draw(base, num_inference_steps=5, denoising_end=0.6, output_type="latent")
        drawn = draw(pipe, image=latents, num_inference_steps=5, denoising_start=0.6)
        scores: dict[str, Any] = {"aesthetic_score": 3.0, "negative_aesthetic_score": 1.0}
        made.append((drawn, draw(pipe, image=picture(), strength=0.7, **TWO, **scores)))
    for one, other in zip(*made, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("case", ["inpaint-9", "xl-img2img"])
def test_diffusers_draws_the_same_from_what_we_save(case: str, tmp_path: Path) -> None:
    ours, theirs = pipelines(case)
    ours.save_pretrained(tmp_path)
    again = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    assert type(again) is type(theirs)
    mine = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    assert type(mine) is type(ours)
    both((mine, again))
