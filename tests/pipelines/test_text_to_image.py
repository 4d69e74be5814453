from __future__ import annotations

import gc
import inspect
import logging
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import dpnb
from dpnb.stages import Stage
from tests.strategies.pipes import build
from tests.test_generators import ElsewhereGenerator

pytestmark = pytest.mark.exhaustive

STEPS = {"num_inference_steps": 3, "output_type": "np"}


@pytest.fixture(params=["tiny-sd", "tiny-sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    pipe = dpnb.random_pipeline(request.param)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def tiny() -> Any:
    pipe = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_call_drains_the_stream(pipe: Any) -> None:
    called = pipe("a cat", generator=seeded(), **STEPS).images
    steps = list(pipe.stream("a cat", generator=seeded(), **STEPS))
    assert [s.stage for s in steps] == [Stage.TEXT, *[Stage.DENOISING] * 3, Stage.DECODING]
    assert [s.index for s in steps[1:4]] == [0, 1, 2]
    assert all(s.output is None for s in steps[:-1])
    assert np.array_equal(steps[-1].output.images, called)


def test_the_pipeline_may_be_changed_between_two_steps(pipe: Any) -> None:
    plain = pipe("a cat", generator=seeded(), **STEPS).images
    for step in pipe.stream("a cat", generator=seeded(), **STEPS):
        if step.stage is Stage.DENOISING:
            pipe._guidance_scale = 1.0
    assert not np.array_equal(step.output.images, plain)


def test_a_stream_that_is_left_leaves_no_trace(tiny: Any) -> None:
    expected = tiny("a cat", generator=seeded(), **STEPS).images
    for step in tiny.stream("a cat", generator=seeded(), **STEPS):
        if step.stage is Stage.DENOISING:
            break
    assert torch.is_grad_enabled()
    assert np.array_equal(tiny("a cat", generator=seeded(), **STEPS).images, expected)


def test_gradients_are_off_inside_and_as_before_outside(tiny: Any) -> None:
    inside: list[bool] = []

    def look(_: Any, __: int, ___: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        inside.append(torch.is_grad_enabled())
        return tensors

    for _ in tiny.stream("a cat", callback_on_step_end=look, **STEPS):
        assert torch.is_grad_enabled()
    assert inside == [False] * 3


def test_an_interrupt_goes_straight_to_decoding(pipe: Any) -> None:
    seen = []

    def stop(pipe: Any, index: int, t: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(index)
        pipe._interrupt = True
        return tensors

    images = pipe("a cat", callback_on_step_end=stop, **STEPS).images
    assert seen == [0]
    assert images.shape == (1, 32, 32, 3)
    pipe("a cat", **STEPS)
    assert pipe.num_timesteps == 3


def test_outputs_come_in_four_forms(pipe: Any) -> None:
    made = {
        kind: pipe("a cat", num_inference_steps=2, generator=seeded(), output_type=kind).images
        for kind in ("pil", "np", "pt", "latent")
    }
    assert isinstance(made["pil"][0], Image.Image)
    assert made["np"].shape == (1, 32, 32, 3)
    assert made["pt"].shape == (1, 3, 32, 32)
    assert made["latent"].shape == (1, 4, 16, 16)
    assert np.array_equal(np.asarray(made["pil"][0]), (made["np"][0] * 255).round())
    assert isinstance(pipe("a cat", num_inference_steps=2, return_dict=False), tuple)


def test_a_generator_for_each_picture_draws_each_as_if_alone(pipe: Any) -> None:
    together = pipe(["a", "b"], generator=[seeded(1), seeded(2)], **STEPS).images
    alone = [
        pipe(prompt, generator=seeded(seed), **STEPS).images[0]
        for prompt, seed in (("a", 1), ("b", 2))
    ]
    assert np.abs(together - np.stack(alone)).max() < 1e-5


def test_clip_skip_takes_an_earlier_layer(pipe: Any) -> None:
    plain = pipe("a cat", generator=seeded(), **STEPS).images
    skipped = pipe("a cat", generator=seeded(), clip_skip=1, **STEPS).images
    assert not np.allclose(plain, skipped)
    with pytest.raises(ValueError, match="this text encoder has 3, give a smaller number"):
        pipe("a cat", clip_skip=9, **STEPS)


def test_a_long_prompt_is_cut_and_the_rest_is_named(
    tiny: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tiny("x" * 75 + "yz", **STEPS)
    assert "longer than the 77 tokens" in caplog.text
    assert "left out: 'yz'" in caplog.text
    assert "xxx" not in caplog.text


def test_the_signature_shows_every_argument() -> None:
    for kind in (dpnb.StableDiffusionPipeline, dpnb.StableDiffusionXLPipeline):
        parameters = inspect.signature(kind.__call__).parameters
        assert list(parameters)[:2] == ["self", "prompt"]
        assert parameters["num_inference_steps"].default == 50
        assert inspect.signature(kind.stream) == inspect.signature(kind.__call__)
    assert inspect.signature(dpnb.StableDiffusionXLPipeline.__call__).parameters[
        "guidance_scale"
    ].default == pytest.approx(5.0)


def test_arguments_may_come_by_position(tiny: Any) -> None:
    image = tiny("a cat", 16, 24, 2).images[0]
    assert image.size == (24, 16)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"prompt": 7}, "prompt must be text or a list of texts, not 7 of type int"),
    ({"prompt": ["a", None]}, "prompt must be text or a list of texts, not None"),
    ({"prompt": []}, "prompt is an empty list"),
    ({"prompt": None}, "there is nothing to draw"),
    ({"prompt_embeds": torch.zeros(1, 77, 32)}, "prompt and its embeddings are both given"),
    ({"height": 33}, "height is 33; it must be a positive multiple of 8, such as 32"),
    ({"width": -8}, "width is -8; it must be a positive multiple of 8"),
    ({"num_inference_steps": -1}, "num_inference_steps is -1; it must be a whole number"),
    ({"num_inference_steps": 2.5}, "num_inference_steps is 2.5"),
    ({"num_images_per_prompt": 0}, "num_images_per_prompt is 0"),
    ({"negative_prompt": ["a", "b"]}, "negative_prompt has 2 texts for 1 prompts"),
    ({"negative_prompt": 3}, "negative_prompt must be text"),
    ({"output_type": "jpeg"}, "output_type is 'jpeg'; use one of 'pil', 'np', 'pt', 'latent'"),
    ({"generator": [seeded(), seeded()]}, "generator is a list of 2, but the batch holds 1"),
    ({"generator": ElsewhereGenerator()}, "lives on cuda:0, but the numbers are needed on cpu"),
    ({"callback_on_step_end_tensor_inputs": ["x"]}, "tensor_inputs names x; this pipeline has"),
    ({"colour": "red"}, "colour is not an argument of this pipeline; it takes prompt"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES, ids=[m[1][:30] for m in MISTAKES])
def test_mistakes_are_named_before_anything_is_computed(
    pipe: Any, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        pipe.stream(**{"prompt": "a cat", **arguments})


def test_given_latents_must_have_the_right_shape(pipe: Any) -> None:
    with pytest.raises(ValueError, match=r"latents has shape \(1, 4, 8, 8\); for 1 pictures of"):
        pipe("a cat", latents=torch.zeros(1, 4, 8, 8), height=64, width=64)


def test_given_latents_have_a_size(tiny: Any) -> None:
    latents = torch.zeros(1, 4, 8, 12)
    (drawn,) = tiny("a cat", latents=latents, num_inference_steps=1).images
    assert drawn.size == (12 * tiny.vae_scale_factor, 8 * tiny.vae_scale_factor)
    with pytest.raises(ValueError, match=r"latents has shape \(1, 4, 8, 12\); for 1 pictures of"):
        tiny("a cat", latents=latents, height=8 * tiny.vae_scale_factor + 8)


def test_a_schedule_is_given_in_one_way_only(tiny: Any) -> None:
    with pytest.raises(ValueError, match="timesteps and sigmas both set the schedule"):
        tiny("a cat", timesteps=[5], sigmas=[1.0])
    with pytest.raises(ValueError, match="DDIMScheduler does not take custom sigmas"):
        tiny("a cat", sigmas=[1.0])


def test_xl_names_embeddings_that_belong_together() -> None:
    pipe = dpnb.random_pipeline("tiny-sdxl")
    embeds = torch.zeros(1, 77, 64)
    with pytest.raises(ValueError, match="prompt_embeds is given without its pooled embeddings"):
        pipe(prompt_embeds=embeds)
    with pytest.raises(ValueError, match="denoising_end is 2; it is a share of the schedule"):
        pipe("a", denoising_end=2)


def test_an_error_in_a_callback_leaves_the_pipeline_as_it_was(pipe: Any) -> None:
    expected = pipe("a cat", generator=seeded(), **STEPS).images

    def fail(*_: object) -> dict[str, Tensor]:
        raise RuntimeError("no more paper")

    with pytest.raises(RuntimeError, match="no more paper"):
        pipe("a cat", callback_on_step_end=fail, **STEPS)
    assert torch.is_grad_enabled()
    assert np.array_equal(pipe("a cat", generator=seeded(), **STEPS).images, expected)


def test_an_xl_autoencoder_in_half_precision_decodes_in_float32_and_returns() -> None:
    pipe = dpnb.random_pipeline("tiny-sdxl")
    pipe.vae.half()
    dtypes = []
    handle = pipe.vae.decoder.register_forward_pre_hook(
        lambda _, arguments: dtypes.append(arguments[0].dtype)
    )
    pipe.make_output(
        torch.zeros(1, 4, 4, 4), type("Asked", (), {"output_type": "pt", "return_dict": True})
    )
    handle.remove()
    assert dtypes == [torch.float32]
    assert pipe.vae.dtype is torch.float16


def test_a_pipeline_that_is_let_go_is_gone() -> None:
    import weakref

    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    pipe("a cat", **STEPS)
    unet = weakref.ref(pipe.unet)
    del pipe
    gc.collect()
    assert unet() is None


def test_nothing_of_the_prompt_is_held_while_pictures_are_decoded() -> None:
    pipe, held = build("tiny-sd"), list[bool]()
    width = pipe.unet.config.cross_attention_dim

    def look(*_: Any) -> None:
        alive = (one for one in gc.get_objects() if isinstance(one, torch.Tensor))
        held.append(any(one.ndim == 3 and one.shape[1:] == (77, width) for one in alive))

    pipe.unet.register_forward_pre_hook(look)
    pipe.vae.decoder.register_forward_pre_hook(look)
    pipe("a cat", num_inference_steps=1, height=32, width=32, output_type="pt")
    assert held == [True, False]
