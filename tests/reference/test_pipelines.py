"""The same pictures as diffusers, from checkpoints that either of the two wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dpnb
from dpnb.schedulers import DiffusionScheduler
from dpnb.schedulers.catalog import MODULES
from tests.reference import checkpoints
from tests.reference.checkpoints import diffusers
from tests.reference.conftest import Written
from tests.reference.pictures import assert_same, draw

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

FAMILIES = ("sd1", "sd2", "sdxl")

SCHEDULERS = [
    ("DDIMScheduler", {}),
    ("DDPMScheduler", {}),
    ("PNDMScheduler", {"skip_prk_steps": True}),
    ("LMSDiscreteScheduler", {}),
    ("EulerDiscreteScheduler", {}),
    ("EulerDiscreteScheduler", {"use_karras_sigmas": True, "timestep_spacing": "trailing"}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {}),
    ("DPMSolverMultistepScheduler", {}),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("UniPCMultistepScheduler", {}),
    ("LCMScheduler", {}),
    ("TCDScheduler", {}),
    ("KDPM2DiscreteScheduler", {}),
    ("KDPM2AncestralDiscreteScheduler", {}),
    ("DEISMultistepScheduler", {}),
    ("DPMSolverSinglestepScheduler", {}),
    ("SASolverScheduler", {}),
    ("DDIMParallelScheduler", {}),
    ("DDPMParallelScheduler", {}),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "settings"), SCHEDULERS)
def test_every_scheduler_draws_the_same(
    written: Written, family: str, name: str, settings: dict[str, Any]
) -> None:
    folder, theirs = written(family)
    ours = dpnb.DiffusionPipeline.from_pretrained(folder)
    former = theirs.scheduler
    ours.scheduler = getattr(dpnb, name).from_config(ours.scheduler.config, **settings)
    theirs.scheduler = getattr(diffusers, name).from_config(former.config, **settings)
    try:
        assert_same(draw(ours, negative_prompt="dull"), draw(theirs, negative_prompt="dull"))
    finally:
        theirs.scheduler = former


def test_every_scheduler_is_compared() -> None:
    kinds = [getattr(dpnb.schedulers, name) for name in MODULES if name.endswith("Scheduler")]
    classes = {
        kind.__name__
        for kind in kinds
        if issubclass(kind, DiffusionScheduler) and kind is not DiffusionScheduler
    }
    backwards = {"DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler"}
    assert {name for name, _ in SCHEDULERS} == classes - backwards


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "arguments",
    [
        {"height": 48, "width": 24},
        {"prompt": ["a cat", "two dogs in a car"], "negative_prompt": ["x", "y"]},
        {"num_images_per_prompt": 3, "guidance_scale": 3.0},
        {"guidance_scale": 1.0},
        {"guidance_scale": 9.0, "guidance_rescale": 0.7},
        {"eta": 1.0},
        {"num_inference_steps": 7, "prompt": "words " * 200},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_every_argument_means_the_same(
    written: Written, family: str, arguments: dict[str, Any]
) -> None:
    folder, theirs = written(family)
    ours = dpnb.DiffusionPipeline.from_pretrained(folder)
    assert_same(draw(ours, **arguments), draw(theirs, **arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt_2": "a second thought", "negative_prompt": "x", "negative_prompt_2": "y"},
        {"original_size": (90, 20), "crops_coords_top_left": (5, 6), "target_size": (64, 48)},
        {
            "negative_original_size": (10, 20),
            "negative_crops_coords_top_left": (1, 2),
            "negative_target_size": (30, 40),
        },
        {
            "prompt": ["one", "two"],
            "negative_original_size": (10, 20),
            "negative_target_size": (30, 40),
        },
        {"denoising_end": 0.6, "output_type": "latent"},
        {"clip_skip": 1},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_the_arguments_of_xl_mean_the_same(written: Written, arguments: dict[str, Any]) -> None:
    folder, theirs = written("sdxl")
    ours = dpnb.StableDiffusionXLPipeline.from_pretrained(folder)
    one, other = draw(ours, **arguments), draw(theirs, **arguments)
    assert_same(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("family", FAMILIES)
def test_lists_of_generators_and_given_latents_mean_the_same(written: Written, family: str) -> None:
    folder, theirs = written(family)
    ours = dpnb.DiffusionPipeline.from_pretrained(folder)

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in (1, 2)]

    prompts = ["a", "b"]
    assert_same(
        draw(ours, prompts, generator=generators()), draw(theirs, prompts, generator=generators())
    )
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert_same(draw(ours, prompts, latents=latents), draw(theirs, prompts, latents=latents))


@pytest.mark.parametrize("family", FAMILIES)
def test_given_embeddings_mean_the_same(written: Written, family: str) -> None:
    folder, theirs = written(family)
    ours = dpnb.DiffusionPipeline.from_pretrained(folder)
    tokens, width = 77, 48 if family == "sdxl" else 24
    names = ["prompt_embeds", "negative_prompt_embeds"]
    embeds: dict[str, Any] = {name: torch.randn(1, tokens, width) for name in names}
    if family == "sdxl":
        embeds |= {
            name: torch.randn(1, 20)
            for name in ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        }
    assert_same(draw(ours, None, **embeds), draw(theirs, None, **embeds))


def test_custom_schedules_mean_the_same(written: Written) -> None:
    folder, theirs = written("sd1")
    ours = dpnb.DiffusionPipeline.from_pretrained(folder)
    former = theirs.scheduler
    for pipe, library in ((ours, dpnb), (theirs, diffusers)):
        pipe.scheduler = library.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    try:
        for schedule in ({"timesteps": [900, 600, 100]}, {"sigmas": [8.0, 2.0, 0.5]}):
            assert_same(draw(ours, **schedule), draw(theirs, **schedule))
    finally:
        theirs.scheduler = former


def test_a_guidance_embedding_means_the_same(tmp_path: Path) -> None:
    theirs = checkpoints.pipeline(
        "sd1",
        unet=checkpoints.unet("sd1", time_cond_proj_dim=16),
        scheduler=diffusers.LCMScheduler(**checkpoints.BETAS),
    )
    theirs.save_pretrained(tmp_path)
    ours = dpnb.StableDiffusionPipeline.from_pretrained(tmp_path)
    assert_same(draw(ours, guidance_scale=8.0), draw(theirs, guidance_scale=8.0))


def test_callbacks_see_and_change_the_same(written: Written) -> None:
    folder, theirs = written("sd1")
    ours = dpnb.DiffusionPipeline.from_pretrained(folder)

    def halfway_without_guidance(
        pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        if index == 1:
            pipe._guidance_scale = 0.0
            tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(2)[-1]
        return {**tensors, "latents": tensors["latents"] * 1.01}

    arguments: dict[str, Any] = {
        "callback_on_step_end": halfway_without_guidance,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
    }
    assert_same(draw(ours, **arguments), draw(theirs, **arguments))


def test_the_safety_checker_blackens_the_same(tmp_path: Path) -> None:
    torch.manual_seed(3)
    checker, processor = checkpoints.safety_checker()
    theirs = checkpoints.pipeline("sd1", safety_checker=checker, feature_extractor=processor)
    theirs.save_pretrained(tmp_path)
    ours = dpnb.StableDiffusionPipeline.from_pretrained(tmp_path)
    prompts = ["a", "b", "c", "d"]
    for threshold in (0.75, 0.0, -1.0):
        for pipe in (ours, theirs):
            pipe.safety_checker.concept_embeds_weights.fill_(threshold)
        one, other = (
            pipe(
                prompts,
                num_inference_steps=2,
                output_type="np",
                generator=torch.Generator().manual_seed(0),
            )
            for pipe in (ours, theirs)
        )
        assert one.nsfw_content_detected == other.nsfw_content_detected
        assert np.abs(one.images - other.images).max() <= 2e-4
    flagged: Any = one.nsfw_content_detected
    assert all(flagged)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "how",
    [{}, {"safe_serialization": False}, {"variant": "fp16"}, {"max_shard_size": "100KB"}],
    ids=str,
)
def test_diffusers_draws_the_same_from_what_we_save(
    written: Written, family: str, how: dict[str, Any], tmp_path: Path
) -> None:
    folder, theirs = written(family)
    ours = dpnb.DiffusionPipeline.from_pretrained(folder)
    ours.save_pretrained(tmp_path / "saved", **how)
    variant = {"variant": how["variant"]} if "variant" in how else {}
    for library in (diffusers, dpnb):
        again = library.DiffusionPipeline.from_pretrained(tmp_path / "saved", **variant)
        assert_same(draw(again), draw(theirs))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pipeline_of_diffusers_becomes_ours_around_the_same_tensors(
    written: Written, family: str
) -> None:
    _, theirs = written(family)
    kind = getattr(dpnb, type(theirs).__name__)
    ours = kind.from_pipe(theirs)
    assert_same(draw(ours), draw(theirs))
    for name in ("unet", "vae"):
        assert type(getattr(ours, name)).__module__.startswith("dpnb.")
        mine, given = (getattr(pipe, name).state_dict() for pipe in (ours, theirs))
        assert mine.keys() == given.keys()
        assert all(mine[key].data_ptr() == given[key].data_ptr() for key in given)
    assert ours.text_encoder is theirs.text_encoder


def test_half_precision_draws_nearly_the_same(written: Written) -> None:
    folder, theirs = written("sd1")
    ours = dpnb.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)
    assert ours.dtype is torch.bfloat16
    assert np.abs(draw(ours) - draw(theirs)).mean() < 0.02
