"""The same pictures as diffusers with self-attention guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dpnb
from tests.reference.checkpoints import diffusers
from tests.reference.conftest import Written
from tests.reference.pictures import assert_same, draw

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

SCHEDULERS = [
    ("DDIMScheduler", {}),
    ("PNDMScheduler", {"skip_prk_steps": True}),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    ("UniPCMultistepScheduler", {}),
]

Pair = tuple[Any, Any]


on_one = pytest.mark.parametrize("pair", ["sd1"], indirect=True)


@pytest.fixture
def pair(request: pytest.FixtureRequest, written: Written) -> Pair:
    """Both libraries' pipelines over the same tensors; the second predicts v."""
    _, base = written(request.param)
    theirs = diffusers.StableDiffusionSAGPipeline.from_pipe(base)
    return dpnb.StableDiffusionSAGPipeline.from_pipe(base), theirs


@on_one
@pytest.mark.parametrize(("name", "settings"), SCHEDULERS)
def test_every_scheduler_with_timesteps_draws_the_same(
    pair: Pair, name: str, settings: dict[str, Any]
) -> None:
    for pipe, library in zip(pair, (dpnb, diffusers), strict=True):
        kind = getattr(library, name)
        pipe.scheduler = kind.from_config(pipe.scheduler.config, **settings)
    assert_same(*(draw(pipe, num_inference_steps=3) for pipe in pair))


@pytest.mark.parametrize("pair", ["sd2"], indirect=True)
def test_a_network_that_predicts_v_draws_the_same(pair: Pair) -> None:
    assert_same(*(draw(pipe, num_inference_steps=3) for pipe in pair))


@on_one
@pytest.mark.parametrize(
    "arguments",
    [
        {"guidance_scale": 1.0},
        {"sag_scale": 0.0},
        {"sag_scale": 1.5, "num_images_per_prompt": 2},
        {"prompt": ["a", "b"], "negative_prompt": ["x", "y"], "height": 40, "width": 24},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_every_argument_means_the_same(pair: Pair, arguments: dict[str, Any]) -> None:
    assert_same(*(draw(pipe, num_inference_steps=3, **arguments) for pipe in pair))


@on_one
@pytest.mark.parametrize(
    "strategies",
    [
        [dpnb.AttentionSlicing(1), dpnb.QKVFusion()],
        [dpnb.ConditioningCache(), dpnb.ModelOffload("simulated:64GiB/s")],
    ],
    ids=repr,
)
def test_strategies_keep_the_picture(pair: Pair, strategies: list[Any]) -> None:
    ours, theirs = pair
    with ours.strategies.using(*strategies):
        assert_same(draw(ours), draw(theirs))


@on_one
def test_diffusers_draws_the_same_from_what_we_save(pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    ours.save_pretrained(tmp_path)
    again = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    assert type(again) is type(theirs)
    mine = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    assert type(mine) is type(ours)
    assert_same(draw(mine), draw(again))
