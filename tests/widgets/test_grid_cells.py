from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

import dpnb
from dpnb.errors import StrategyError
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.vae import VaeSlicing
from dpnb.widgets.grid_cells import lay_out_grid
from tests.reference.checkpoints import pipeline

PLAIN: dict[str, Any] = {"prompt": "a fox", "steps": 1, "width": 32, "height": 32}


def test_the_first_list_varies_down_and_the_second_across(pipe: Any) -> None:
    layout = lay_out_grid(pipe, {**PLAIN, "seed": [3, 4], "guidance_scale": [1, 2.5, 3]})
    assert (layout.down.name, layout.across.name, len(layout)) == ("seed", "guidance_scale", 6)
    assert layout.down.labels == ("seed 3", "seed 4")
    assert layout.across.labels == ("guidance scale 1", "guidance scale 2.5", "guidance scale 3")
    places = [(c.row, c.column, c.request.seed, c.request.guidance_scale) for c in layout]
    assert places == [(r, c, 3 + r, g) for r in range(2) for c, g in enumerate([1, 2.5, 3])]
    assert all(cell.request.prompt == "a fox" and cell.plan is None for cell in layout)
    assert layout.title == "a fox, steps 1, width 32, height 32"


def test_without_lists_there_is_one_cell(pipe: Any) -> None:
    (cell,) = lay_out_grid(pipe, PLAIN)
    assert (cell.row, cell.column, cell.request.seed) == (0, 0, 0)


def test_prompts_schedulers_and_plans_are_named(pipe: Any) -> None:
    names = ["DDIMScheduler", "EulerDiscreteScheduler"]
    layout = lay_out_grid(pipe, {**PLAIN, "prompt": ["a", "b"], "scheduler": names})
    assert (layout.down.labels, layout.across.labels) == (("a", "b"), ("DDIM", "EulerDiscrete"))
    assert [cell.request.scheduler for cell in layout] == names * 2
    plans = [[], FreeU(), {FreeU(), QKVFusion()}]
    layout = lay_out_grid(pipe, {**PLAIN, "strategies": plans})
    assert [cell.plan for cell in layout] == [set(), {FreeU()}, {FreeU(), QKVFusion()}]
    assert layout.down.labels == ("nothing switched on", "FreeU", "QKV fusion, FreeU")


def test_one_plan_for_all_is_no_list(pipe: Any) -> None:
    layout = lay_out_grid(pipe, {**PLAIN, "strategies": {VaeSlicing()}, "seed": [0, 1]})
    assert {cell.plan for cell in layout} == {frozenset({VaeSlicing()})}


def test_further_arguments_of_the_call_vary_too(pipe: Any) -> None:
    layout = lay_out_grid(pipe, {**PLAIN, "guidance_rescale": [0.0, 0.7], "eta": 0.5})
    assert [dict(cell.request.more) for cell in layout] == [
        {"eta": 0.5, "guidance_rescale": value} for value in (0.0, 0.7)
    ]


def test_pictures_vary_too() -> None:
    base: Any = dpnb.random_pipeline("tiny-sd")
    pipe: Any = dpnb.StableDiffusionImg2ImgPipeline.from_pipe(base)
    pictures = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    layout = lay_out_grid(pipe, {"prompt": "a", "image": pictures, "strength": [0.5, 1.0]})
    assert layout.down.labels == ("image 1", "image 2")
    assert [dict(cell.request.pictures)["image"] for cell in layout] == [
        one for one in pictures for _ in range(2)
    ]


def test_a_pipeline_of_diffusers_has_grids() -> None:
    pipe = dpnb.attach(pipeline("sd1"))
    layout = lay_out_grid(pipe, {"prompt": ["a", "b"], "num_inference_steps": [1, 2]})
    assert [(c.request.prompt, c.request.steps) for c in layout] == [
        ("a", 1),
        ("a", 2),
        ("b", 1),
        ("b", 2),
    ]
    with pytest.raises(TypeError, match="strength is not an argument"):
        lay_out_grid(pipe, {"prompt": "a", "strength": [0.5]})
    pipe.detach()


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        (
            {"seed": [0], "steps": [1], "width": [32]},
            ValueError,
            "steps, width, seed are lists, but a grid varies two .* for seed",
        ),
        ({"seed": []}, ValueError, "seed is an empty list"),
        ({"steps": [2, 0]}, ValueError, "num_inference_steps is 0"),
        ({"width": [32, 33]}, ValueError, "width is 33"),
        ({"seed": [0, "x"]}, TypeError, "seed is 'x'"),
        ({"seed": [2**64]}, ValueError, "seed is 18446744073709551616"),
        ({"scheduler": ["Nope"]}, ValueError, "'Nope' is no scheduler"),
        ({"strategies": ["FreeU"]}, TypeError, "'FreeU' is no plan; give strategies in a list"),
        ({"strategies": [[3]]}, TypeError, "3 is not a strategy"),
        (
            {"strategies": [[FreeU(), FreeU(b1=1.1)]]},
            StrategyError,
            "contradict each other",
        ),
        ({"strategies": [[dpnb.XFormers()]]}, StrategyError, "XFormers needs"),
        ({"seeds": [1]}, TypeError, "seeds is not an argument of this pipeline's grids"),
        ({"strength": 0.5}, TypeError, "strength is not an argument"),
        ({"count": 2}, ValueError, "count is given, but a cell shows one picture"),
        ({"num_images_per_prompt": 2}, ValueError, "num_images_per_prompt is given, but"),
        ({"generator": torch.Generator()}, ValueError, "give seed instead"),
        ({"output_type": "np"}, ValueError, "output_type is not for a grid"),
        (
            {"num_inference_steps": 3},
            TypeError,
            "steps is given twice, also as num_inference_steps",
        ),
        ({"prompt": [3]}, TypeError, "prompt is 3; it must be text"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before(
    pipe: Any, changes: dict[str, Any], error: type[Exception], reason: str
) -> None:
    before = pipe.scheduler, pipe.strategies.active
    with pytest.raises(error, match=reason):
        lay_out_grid(pipe, {**PLAIN, **changes})
    assert (pipe.scheduler, pipe.strategies.active) == before
