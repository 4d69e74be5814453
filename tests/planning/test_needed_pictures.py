"""Pipelines that begin with pictures are given some, by whatever name they know them."""

from __future__ import annotations

from typing import Any

import pytest

import dpnb
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.planning.needed_pictures import make_needed_pictures
from dpnb.planning.workload_arguments import arguments_for

WORKLOAD = dpnb.Workload(height=32, width=48, batch=2, steps=3, guidance_scale=2.0)

KINDS: tuple[type[TextToImagePipeline[Any]], ...] = (
    dpnb.StableDiffusionPipeline,
    dpnb.StableDiffusionImg2ImgPipeline,
    dpnb.StableDiffusionInpaintPipeline,
    dpnb.StableDiffusionSAGPipeline,
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_by_the_protocol_is_that_of_dpnb_s_own(
    kind: type[TextToImagePipeline[Any]],
) -> None:
    pipe = kind.from_pipe(dpnb.random_pipeline("tiny-sd"))
    expected = WORKLOAD.arguments(pipe.picture_inputs)
    found = {**make_needed_pictures(pipe, WORKLOAD), **arguments_for(pipe, WORKLOAD)}
    for arguments in (expected, found):
        arguments["generator"] = arguments["generator"].initial_seed()
    assert found == expected


def test_what_begins_with_a_picture_is_measured() -> None:
    pipe = dpnb.StableDiffusionImg2ImgPipeline.from_pipe(dpnb.random_pipeline("tiny-sd"))
    report = dpnb.sweep(
        pipe,
        [dpnb.ChannelsLast()],
        dpnb.Workload(height=32, width=32, steps=2),
        repeats=1,
        progress=False,
    )
    assert len(report.finished) == 2
