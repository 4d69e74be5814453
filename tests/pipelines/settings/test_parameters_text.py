from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dpnb.pipelines.settings.parameters_text import (
    NEGATIVE,
    has_pairs,
    parse_parameters,
    write_parameters,
)
from dpnb.pipelines.settings.picture_settings import PictureSettings
from dpnb.pipelines.settings.samplers import SAMPLERS, find_sampler

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")).filter(
    lambda text: not any(line.strip().startswith(NEGATIVE) for line in text.split("\n"))
)
NUMBERS = st.floats(0, 1e6, allow_nan=False)
NAMES = st.from_regex(r"x[a-z][a-z \-/]{0,8}[a-z]", fullmatch=True)


@st.composite
def writable_settings(draw: Any) -> PictureSettings:
    """Settings all of which the text can say."""
    sampler = draw(st.sampled_from(SAMPLERS)).name
    scheduler, its = find_sampler(sampler, draw(st.sampled_from(["", "Karras", "SGM Uniform"])))
    return PictureSettings(
        prompt=draw(WORDS).strip(),
        negative_prompt=draw(WORDS).strip(),
        steps=draw(st.integers(1, 1000)),
        guidance_scale=draw(NUMBERS),
        seed=draw(st.integers(-(2**63), 2**64 - 1)),
        width=draw(st.integers(1, 99999)),
        height=draw(st.integers(1, 99999)),
        strength=draw(st.none() | NUMBERS),
        scheduler=scheduler,
        scheduler_settings=its,
        more=draw(st.sampled_from([{}, {"clip_skip": 2}])),
        model=draw(st.none() | WORDS.filter(bool)),
        version=draw(st.sampled_from(["dpnb 0.1.0", "v1.10.1"])),
        remarks=tuple(draw(st.dictionaries(NAMES, WORDS.filter(bool), max_size=3)).items()),
    )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(writable_settings())
@example(PictureSettings("a, b: c\nd", 'e "f"', 1, 7, 0, 8, 8, model='a "b", c: \\', version="d"))
def test_what_is_written_is_read_again(one: PictureSettings) -> None:
    assert parse_parameters(write_parameters(one)) == one


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(writable_settings())
def test_the_parser_of_automatic1111_reads_it(one: PictureSettings) -> None:
    """Its rule: the last line holds pairs if there are three; a value is quoted or has no comma."""
    line = write_parameters(one).split("\n")[-1]
    pair = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    found = dict(pair.findall(line))
    assert found["Steps"] == str(one.steps)
    assert found["Seed"] == str(one.seed)
    assert found["Size"] == f"{one.width}x{one.height}"
    assert found["Version"] == one.version


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_no_text_fails(text: str) -> None:
    assert has_pairs(text) == has_pairs(f"{text}\n")
    parse_parameters(text)


def test_the_form_is_that_of_automatic1111() -> None:
    one = PictureSettings(
        "a red apple,\non a table",
        "blue",
        20,
        7.0,
        1,
        512,
        768,
        0.75,
        "DPMSolverMultistepScheduler",
        {"use_karras_sigmas": True},
        model="a, b",
        model_hash="cf3f2c56dc",
        version="dpnb 0.1.0",
    )
    assert write_parameters(one) == (
        "a red apple,\non a table\n"
        "Negative prompt: blue\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, "
        'Size: 512x768, Model hash: cf3f2c56dc, Model: "a, b", Denoising strength: 0.75, '
        "Version: dpnb 0.1.0"
    )


def test_an_ancestral_sampler_needs_no_schedule_type() -> None:
    one = PictureSettings("a", steps=1, seed=2, scheduler="EulerAncestralDiscreteScheduler")
    assert write_parameters(one) == "a\nSteps: 1, Sampler: Euler a, Seed: 2"


FORGE = """two lines
of a prompt <lora:detail:0.8>
Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, \
Seed: 4294967295, Size: 896x1152, Model hash: 52e30e9c56, Model: flux1-dev, Lora hashes: \
"detail: 6f1e, other: 77aa", Version: f2.0.1v1.10.1, Module 1: ae"""

CIVITAI = """a cat
Negative prompt: bad hands,
worst quality
Steps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7.0, Seed: 123, Size: 832x1216, Clip skip: 2, \
Created Date: 2024-10-01T12:00:00.0000Z, Civitai resources: [{"type":"checkpoint",\
"modelVersionId":128078,"modelName":"x, y"}], Civitai metadata: {}"""

TEMPLATED = """a cat
Steps: 12, Sampler: Unheard, Schedule type: Odd, CFG scale: x, Seed: 5, Size: 64x64
Template: a {cat|dog}, b: c, d: e"""


def test_forge_writes_the_guidance_of_flux_beside_the_other() -> None:
    one = parse_parameters(FORGE)
    assert one.prompt == "two lines\nof a prompt <lora:detail:0.8>"
    assert (one.guidance_scale, one.seed, one.width, one.height) == (3.5, 2**32 - 1, 896, 1152)
    assert one.scheduler == "EulerDiscreteScheduler"
    assert dict(one.remarks) == {"Lora hashes": "detail: 6f1e, other: 77aa", "Module 1": "ae"}


def test_civitai_writes_json_after_the_pairs() -> None:
    one = parse_parameters(CIVITAI)
    assert one.negative_prompt == "bad hands,\nworst quality"
    assert one.scheduler_settings["use_karras_sigmas"] is True
    assert one.more == {"clip_skip": 1}
    assert (one.steps, one.guidance_scale, one.seed) == (30, 7.0, 123)


def test_what_cannot_be_read_stays_as_it_was_written() -> None:
    last = TEMPLATED.rpartition("\n")[0]
    one = parse_parameters(last)
    assert (one.scheduler, one.sampler) == (None, "Unheard Odd")
    assert dict(one.remarks) == {"CFG scale": "x"}
    assert "Sampler: Unheard Odd" in write_parameters(one)


def test_lines_behind_the_pairs_are_no_prompt() -> None:
    one = parse_parameters(TEMPLATED.replace("b: c, d: e", "b"))
    assert (one.prompt, one.steps) == ("a cat", 12)


def test_a_prompt_alone_is_all_prompt() -> None:
    assert parse_parameters("a cat: black, white") == PictureSettings("a cat: black, white")
    assert parse_parameters("Negative prompt: x") == PictureSettings("", "x")


@pytest.mark.parametrize("text", ["a" * 400_000, "a:" * 200_000, ':"' * 200_000, "::" * 200_000])
def test_long_texts_take_no_longer_than_their_length(text: str) -> None:
    started = time.perf_counter()
    parse_parameters(text)
    assert time.perf_counter() - started < 10
