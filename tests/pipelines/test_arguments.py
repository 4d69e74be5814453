"""Every number of every pipeline's call, in every form that numpy and torch have."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dpnb
from tests.forms import FORMS, NO_NUMBERS
from tests.pictures import mask, picture

pytestmark = pytest.mark.exhaustive

BASES = {
    "StableDiffusionPipeline": "tiny-sd",
    "StableDiffusionImg2ImgPipeline": "tiny-sd",
    "StableDiffusionInpaintPipeline": "tiny-sd",
    "StableDiffusionSAGPipeline": "tiny-sd",
    "StableDiffusionXLPipeline": "tiny-sdxl",
    "StableDiffusionXLImg2ImgPipeline": "tiny-sdxl",
    "StableDiffusionXLInpaintPipeline": "tiny-sdxl",
    "LDMTextToImagePipeline": "tiny-ldm",
    "FluxPipeline": "tiny-flux",
}

NUMBERS: dict[str, Any] = {
    "height": 32,
    "width": 48,
    "num_inference_steps": 4,
    "guidance_scale": 2.3,
    "num_images_per_prompt": 2,
    "eta": 0.3,
    "guidance_rescale": 0.2,
    "callback_steps": 2,
    "clip_skip": 1,
    "return_dict": True,
    "strength": 0.7,
    "padding_mask_crop": 4,
    "sag_scale": 0.3,
    "denoising_start": 0.2,
    "denoising_end": 0.8,
    "original_size": (64, 40),
    "crops_coords_top_left": (4, 2),
    "target_size": (48, 32),
    "negative_original_size": (24, 40),
    "negative_crops_coords_top_left": (1, 3),
    "negative_target_size": (16, 24),
    "aesthetic_score": 5.7,
    "negative_aesthetic_score": 2.2,
    "true_cfg_scale": 1.7,
    "max_sequence_length": 24,
    "timesteps": [9, 6, 1],
    "sigmas": [0.9, 0.7, 0.3],
}
APART = {"timesteps", "sigmas"}
"""These take the place of a number of steps."""


def build(name: str) -> Any:
    base = dpnb.random_pipeline(BASES[name])
    pipe = base if type(base).__name__ == name else getattr(dpnb, name).from_pipe(base)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module", params=BASES)
def pipe(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


def taken(pipe: Any) -> dict[str, Any]:
    """The numbers that a pipeline's call takes."""
    known = inspect.signature(type(pipe).__call__).parameters
    numbers = {name: value for name, value in NUMBERS.items() if name in known}
    if isinstance(pipe, dpnb.LDMTextToImagePipeline):
        del numbers["clip_skip"]
    return numbers


def beside(pipe: Any) -> dict[str, Any]:
    """What else a run needs, the same each time."""
    known = inspect.signature(type(pipe).__call__).parameters
    others = {"image": picture(), "mask_image": mask()}
    return {
        "prompt": "a cat",
        "negative_prompt": "a dog",
        "generator": torch.Generator().manual_seed(0),
        **{name: value for name, value in others.items() if name in known},
    }


def drawn(pipe: Any, numbers: dict[str, Any]) -> Any:
    return [np.asarray(image) for image in pipe(**beside(pipe), **numbers).images]


def test_the_table_holds_every_number_of_every_call() -> None:
    declared = {
        name
        for kind in BASES
        for name, parameter in inspect.signature(getattr(dpnb, kind).__call__).parameters.items()
        if any(word in str(parameter.annotation) for word in ("int", "float", "bool"))
    }
    assert declared == set(NUMBERS)


def test_a_picture_is_the_same_in_every_form(pipe: Any) -> None:
    numbers = {name: value for name, value in taken(pipe).items() if name not in APART}
    expected = drawn(pipe, numbers)
    for form in FORMS.values():
        given = drawn(pipe, {name: form(value) for name, value in numbers.items()})
        assert len(given) == len(expected) == 2
        assert all(map(np.array_equal, given, expected))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_schedules_may_be_arrays(form: Callable[[Any], Any]) -> None:
    for name, scheduler in (
        ("StableDiffusionPipeline", dpnb.EulerDiscreteScheduler),
        ("FluxPipeline", None),
    ):
        pipe = build(name)
        if scheduler is not None:
            pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
        for argument in APART & set(taken(pipe)):
            plain = {argument: NUMBERS[argument]}
            given = {argument: form(NUMBERS[argument])}
            assert np.array_equal(drawn(pipe, given), drawn(pipe, plain))


@pytest.mark.parametrize("label", NO_NUMBERS)
def test_what_is_no_number_is_refused_at_once(pipe: Any, label: str) -> None:
    for name, value in taken(pipe).items():
        if isinstance(value, bool) and "truth" in label:
            continue
        wrong = NO_NUMBERS[label]
        given = [*value[:-1], wrong] if isinstance(value, (tuple, list)) else wrong
        with pytest.raises((TypeError, ValueError)) as refusal:
            pipe.stream(**beside(pipe), **{name: given})
        assert str(refusal.value).removeprefix("an entry of ").startswith(f"{name} is ")
        assert str(refusal.value).count(". ") == 0


@pytest.mark.parametrize("size", [0, 0.0, np.int64(0), torch.tensor(-8), 33, np.float32(33)])
def test_sizes_are_multiples_in_every_form(pipe: Any, size: Any) -> None:
    if int(size) == 33 and (pipe.picture_inputs or isinstance(pipe, dpnb.FluxPipeline)):
        return
    for name in ("height", "width"):
        with pytest.raises(
            ValueError, match=f"{name} is {int(size)}; it must be a positive multiple"
        ):
            pipe.stream(**beside(pipe), **{name: size})


def test_a_number_is_no_generator(pipe: Any) -> None:
    with pytest.raises(TypeError, match=r"generator is 7; make one with torch\.Generator\(\)"):
        pipe.stream(**{**beside(pipe), "generator": 7})
