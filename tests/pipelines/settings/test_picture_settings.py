from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dpnb
from dpnb.pipelines.settings.picture_settings import (
    PROGRAM,
    PictureSettings,
    PictureSettingsError,
    PlanFrom,
    number_after,
)
from dpnb.pipelines.settings.scheduler_settings import describe_scheduler
from dpnb.stages import Stage, Step
from dpnb.strategies.catalog import CATALOG
from tests.pipelines.settings.test_plain_values import PLAIN
from tests.reference.checkpoints import pipeline

NUMBERS = st.floats(-1e9, 1e9)
SIZES = st.none() | st.integers(1, 1 << 14)
PLANS = st.builds(
    PlanFrom.of,
    st.integers(0, 100),
    st.lists(st.sampled_from([kind() for kind in CATALOG[3:6]]), max_size=1),
)
SETTINGS = st.builds(
    PictureSettings,
    prompt=st.text(),
    negative_prompt=st.text(),
    steps=SIZES,
    guidance_scale=st.none() | NUMBERS,
    seed=st.none() | st.integers(-(2**63), 2**64 - 1),
    width=SIZES,
    height=SIZES,
    strength=st.none() | NUMBERS,
    scheduler=st.none() | st.text(),
    scheduler_settings=st.dictionaries(st.text(), PLAIN, max_size=2),
    is_scheduler_whole=st.booleans(),
    sampler=st.text(),
    more=st.dictionaries(st.text(), PLAIN, max_size=2),
    missing=st.lists(st.text(), max_size=2).map(tuple),
    pipeline=st.none() | st.text(),
    model=st.none() | st.text(),
    model_hash=st.none() | st.text(),
    plans=st.lists(PLANS, max_size=2).map(tuple),
    version=st.text(),
    seconds=st.none() | NUMBERS,
    peak=st.none() | st.integers(0, 2**50),
    remarks=st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(SETTINGS)
def test_settings_survive_json(one: PictureSettings) -> None:
    text = json.dumps(one.to_json(), allow_nan=False)
    assert PictureSettings.from_json(json.loads(text)) == one


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "the format is None"),
        ({"format": "dpnb picture 2"}, "the format is 'dpnb picture 2'"),
        ({"prompt": 3}, "settings.prompt is 3"),
        ({"seed": 2**64}, "settings.seed is 18446744073709551616"),
        ({"plans": [{"strategies": []}]}, r"settings.plans\[0\] has strategies"),
        ({"more": []}, "settings.more is"),
    ],
)
def test_what_is_no_record_is_refused_in_a_sentence(values: dict[str, Any], reason: str) -> None:
    whole = {"format": "dpnb picture 1", **values} if "format" not in values and values else values
    with pytest.raises(PictureSettingsError, match=reason):
        PictureSettings.from_json(whole)


def test_what_a_later_version_adds_is_left_out() -> None:
    values = {**PictureSettings("a").to_json(), "colour": "red"}
    assert PictureSettings.from_json(values) == PictureSettings("a")


@pytest.fixture(scope="module")
def emoji() -> Any:
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)
    return pipe


APPLE = PictureSettings("a red apple", "blue", 4, 5.0, 2**40, 64, 64, version=PROGRAM)


def draw(pipe: Any, settings: PictureSettings) -> bytes:
    return bytes(settings.draw(pipe).tobytes())


def test_the_arguments_of_the_call_draw_the_same_picture(emoji: Any) -> None:
    generator = torch.Generator().manual_seed(2**40)
    drawn = emoji(
        "a red apple",
        negative_prompt="blue",
        num_inference_steps=4,
        guidance_scale=5.0,
        generator=generator,
    ).images[0]
    assert emoji(**APPLE.call(emoji)).images[0].tobytes() == drawn.tobytes()
    assert draw(emoji, APPLE) == drawn.tobytes()


def test_the_scheduler_is_part_of_the_picture_and_the_former_one_comes_back(emoji: Any) -> None:
    before = emoji.scheduler
    config, changes = before.config, {"use_karras_sigmas": True}
    emoji.scheduler = dpnb.EulerAncestralDiscreteScheduler.from_config(config)
    expected = emoji(**APPLE.call(emoji)).images[0].tobytes()
    name, settings = describe_scheduler(emoji.scheduler)
    emoji.scheduler = dpnb.EulerDiscreteScheduler.from_config(config, **changes)
    present = emoji.scheduler
    whole = replace(APPLE, scheduler=name, scheduler_settings=settings, is_scheduler_whole=True)
    assert draw(emoji, whole) == expected
    assert emoji.scheduler is present
    emoji.scheduler = before


def test_what_was_switched_on_the_way_is_switched_at_the_same_steps(emoji: Any) -> None:
    whole = replace(APPLE, plans=(PlanFrom.of(0, []), PlanFrom.of(3, [dpnb.FreeU()])))
    steps, expected = emoji.stream(**APPLE.call(emoji)), b""
    for step in steps:
        if (step.stage, step.index) == (Stage.DENOISING, 1):
            emoji.strategies.use([dpnb.FreeU()])
        if step.output is not None:
            expected = step.output.images[0].tobytes()
    emoji.strategies.use([dpnb.VaeSlicing()])
    assert draw(emoji, whole) == expected != draw(emoji, APPLE)
    assert emoji.strategies.active == {dpnb.VaeSlicing()}
    emoji.strategies.use([])


def test_a_pipeline_of_diffusers_draws_it_again() -> None:
    pipe = pipeline("sd1")
    pipe.set_progress_bar_config(disable=True)
    one = PictureSettings("a fox", steps=2, guidance_scale=3.0, seed=5, width=32, height=32)
    drawn = pipe(**one.call(pipe)).images[0].tobytes()
    assert draw(pipe, one) == drawn
    dpnb.attach(pipe).detach()


def test_what_no_file_can_hold_must_be_given(emoji: Any) -> None:
    one = replace(APPLE, prompt="", missing=("prompt_embeds",))
    with pytest.raises(PictureSettingsError, match=r"prompt_embeds cannot be kept .*give it anew"):
        one.call(emoji)
    embeds = torch.zeros(1, 77, 128)
    arguments = one.call(emoji, prompt_embeds=embeds)
    assert arguments["prompt_embeds"] is embeds
    assert "prompt" not in arguments


def test_a_scheduler_that_cannot_serve_is_refused_before_anything_changes(emoji: Any) -> None:
    before = emoji.scheduler
    with pytest.raises(ValueError, match="DPMSolverSDEScheduler cannot take over"):
        replace(APPLE, scheduler="DPMSolverSDEScheduler").draw(emoji)
    assert emoji.scheduler is before


def test_steps_are_numbered_by_what_follows() -> None:
    assert number_after(Step(Stage.TEXT, 0, 1)) == 1
    assert number_after(Step(Stage.DENOISING, 0, 4)) == 2
    assert number_after(Step(Stage.DENOISING, 3, 4)) == 5
    assert number_after(Step(Stage.DECODING, 0, 1)) is None
