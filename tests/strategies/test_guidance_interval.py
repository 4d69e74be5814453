"""Guidance by the prompt in a part of the run alone."""

from __future__ import annotations

from functools import cache
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

import dpnb
from dpnb.errors import StrategyError
from dpnb.pipelines.attached.doubling import find_doubled
from dpnb.pipelines.flux_guidance import NegativePromptGuidance
from dpnb.pipelines.guidance import GuidanceWithin
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.planning.planner import plan
from dpnb.strategies.doubled_calls import double
from tests.reference.foreign import animate, conditioned, stable_diffusion, stable_diffusion_3
from tests.reference.foreign.case import ForeignCase
from tests.strategies.pipes import build, draw

HALVES = dpnb.GuidanceInterval(0, 0.5)
NEVER = dpnb.GuidanceInterval(0, 1e-6)
ALWAYS = dpnb.GuidanceInterval(0, 1)


def sizes_in(pipe: Any, **arguments: Any) -> list[int]:
    """How many latents the UNet sees in each step of a run."""
    sizes = list[int]()
    heard = pipe.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    draw(pipe, **arguments)
    heard.remove()
    return sizes


@pytest.mark.parametrize(
    ("interval", "steps", "sizes"),
    [
        (dpnb.GuidanceInterval(0.2, 0.8), 5, [1, 2, 2, 2, 1]),
        (dpnb.GuidanceInterval(0.5, 1), 4, [1, 1, 2, 2]),
        (HALVES, 1, [1]),
        (ALWAYS, 2, [2, 2]),
    ],
)
def test_steps_outside_of_it_cost_half(
    interval: dpnb.GuidanceInterval, steps: int, sizes: list[int]
) -> None:
    pipe = build()
    pipe.strategies.enable(interval)
    assert sizes_in(pipe, steps=steps) == sizes


def test_the_whole_run_is_the_plain_one_to_the_last_bit() -> None:
    pipe = build()
    plain = draw(pipe)
    with pipe.strategies.using(ALWAYS):
        assert torch.equal(draw(pipe), plain)
    with pipe.strategies.using(HALVES):
        assert not torch.equal(draw(pipe), plain)
    assert "guidance" not in vars(pipe)
    assert torch.equal(draw(pipe), plain)


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-sdxl", "img2img", "inpaint", "sag"])
def test_outside_of_it_a_run_is_one_without_guidance(name: str) -> None:
    pipe = build(name)
    with pipe.strategies.using(NEVER):
        unsteered = draw(pipe)
    further = {"sag_scale": 0} if name == "sag" else {}
    assert (unsteered - draw(pipe, guidance_scale=1, **further)).abs().max() < 1e-5


def test_the_steps_of_a_run_are_its_own() -> None:
    """Two of four steps of the schedule, of which the first is guided."""
    pipe = build("img2img")
    with pipe.strategies.using(HALVES):
        assert sizes_in(pipe, steps=4, strength=0.5) == [2, 1]


def test_what_else_steers_rests_as_well() -> None:
    pipe = build()
    pipe.strategies.use([HALVES, dpnb.PerturbedAttention()])
    assert isinstance(pipe.guidance, GuidanceWithin)
    assert sizes_in(pipe, steps=2) == [2, 1, 1]
    pipe.strategies.disable(dpnb.PerturbedAttention)
    assert sizes_in(pipe, steps=2) == [2, 1]


def test_in_the_middle_of_a_run() -> None:
    pipe = build()

    def switch(_: Any, index: int, *__: Any) -> dict[str, Any]:
        change = {0: lambda: pipe.strategies.enable(HALVES), 2: lambda: pipe.strategies.use([])}
        change.get(index, lambda: None)()
        return {}

    sizes = sizes_in(pipe, steps=4, callback_on_step_end=switch)
    assert sizes == [2, 2, 1, 2]


def test_flux_with_a_negative_prompt_sees_it_within_alone() -> None:
    pipe = build("tiny-flux")
    assert isinstance(pipe.guidance, NegativePromptGuidance)
    asked: dict[str, Any] = {"negative_prompt": "a blue whale", "true_cfg_scale": 3.0}
    plain, steered = draw(pipe), draw(pipe, **asked)
    with pipe.strategies.using(ALWAYS):
        assert torch.equal(draw(pipe, **asked), steered)
    with pipe.strategies.using(NEVER):
        assert (draw(pipe, **asked) - plain).abs().max() < 1e-6
        assert torch.equal(draw(pipe), plain)
    assert not torch.equal(plain, steered)


def test_noise_levels_of_a_scheduler_become_shares_of_its_steps() -> None:
    scheduler = dpnb.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    scheduler.set_timesteps(20)
    interval = dpnb.GuidanceInterval.between_sigmas(0.28, 5.42, scheduler)
    assert interval == dpnb.GuidanceInterval.sdxl()
    inside = [0.28 < sigma <= 5.42 for sigma in scheduler.sigmas[:20].tolist()]
    shares = [(place + 0.5) / 20 for place in range(20)]
    assert inside == [interval.start <= share < interval.end for share in shares]
    assert sum(inside) == 14
    with pytest.raises(ValueError, match="no step at a noise level above 20"):
        dpnb.GuidanceInterval.between_sigmas(20, 30, scheduler)
    wrong: Any
    for wrong in (None, "Euler", dpnb.UNet2DConditionModel):
        with pytest.raises(TypeError, match="without timesteps; give a scheduler, after a call"):
            dpnb.GuidanceInterval.between_sigmas(0.28, 5.42, wrong)
    wrong = "a"
    with pytest.raises(TypeError, match="low is 'a'; it must be a finite number"):
        dpnb.GuidanceInterval.between_sigmas(wrong, 5.42, scheduler)
    with pytest.raises(ValueError, match="levels are not known"):
        dpnb.GuidanceInterval.between_sigmas(0, 30, dpnb.PNDMScheduler())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"There is nothing from 0.5 to 0.5; start must be below"):
        dpnb.GuidanceInterval(0.5, 0.5)
    with pytest.raises(ValueError, match="end"):
        dpnb.GuidanceInterval(0.5, 1.5)
    distilled = build()
    settings = {**ARCHITECTURES["tiny-sd"].unet, "time_cond_proj_dim": 8}
    distilled.unet = dpnb.UNet2DConditionModel(**settings)
    with pytest.raises(StrategyError, match="every latent twice in one call"):
        distilled.strategies.enable(dpnb.GuidanceInterval())


def test_a_plan_knows_the_steps_that_cost_half() -> None:
    plans = [frozenset({dpnb.GuidanceInterval(start, 1)}) for start in (0, 0.5)]
    size: dict[str, Any] = {"height": 32, "width": 32, "steps": 4, "device": "RTX 3060"}
    half, whole = plan(build(), plans=plans, **size)
    assert half.plan == plans[1]
    assert half.seconds < whole.seconds
    assert half.peaks["denoising"] == whole.peaks["denoising"]


# --- pipelines that others wrote ---

CASES = [
    stable_diffusion.CASES[0],
    next(c for c in stable_diffusion.CASES if "four pictures" in c.name),
    next(c for c in stable_diffusion_3.CASES if c.name == "StableDiffusion3Pipeline"),
    next(c for c in animate.CASES if c.name == "AnimateDiffControlNetPipeline"),
    next(c for c in conditioned.CASES if "two nets" in c.name),
]


@cache
def studio_of(case: ForeignCase) -> Any:
    return dpnb.attach(case.build())


def test_it_goes_on_before_the_first_run() -> None:
    studio = dpnb.attach(CASES[0].build())
    studio.strategies.use([dpnb.GuidanceInterval()])
    assert studio.strategies.obstacle(NEVER) is None


@pytest.mark.parametrize(
    ("interval", "steps"),
    [(dpnb.GuidanceInterval(), 5), (dpnb.GuidanceInterval(0.2, 0.9), 10), (HALVES, 10)],
)
def test_of_a_changed_picture_the_run_is_what_is_left(
    interval: dpnb.GuidanceInterval, steps: int
) -> None:
    """Also after a run of another length."""
    case = next(c for c in stable_diffusion.CASES if c.name == "StableDiffusionImg2ImgPipeline")
    studio = studio_of(case)
    left = steps // 5
    expected = [1 + interval.guides(index, left) for index in range(left)]
    sizes = list[int]()
    arguments = {**case.arguments(), "num_inference_steps": steps, "guidance_scale": 5.0}
    heard = studio.pipe.unet.conv_in.register_forward_hook(lambda *a: sizes.append(len(a[2])))
    with studio.strategies.using(interval):
        for strength in (0.2, 1.0, 0.2):
            sizes.clear()
            studio.pipe(**{**arguments, "strength": strength})
    heard.remove()
    assert sizes == expected
    assert studio.strategies.remarks == ()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_attached_pipeline_is_answered_with_the_prompted_half_twice(case: ForeignCase) -> None:
    studio = studio_of(case)
    (network,) = studio.doubled_networks()
    plain = case.draw(studio.pipe)
    with studio.strategies.using(ALWAYS):
        assert torch.equal(case.draw(studio.pipe), plain)
    sizes = list[int]()
    with studio.strategies.using(NEVER):
        first = next(network.children())
        heard = first.register_forward_hook(lambda _, __, out: sizes.append(len(out)))
        ours = case.draw(studio.pipe)
        heard.remove()
    twice = network.register_forward_hook(lambda _, __, out: prompted_twice(out))
    expected = case.draw(studio.pipe)
    twice.remove()
    assert (ours - expected).abs().max() < 1e-5
    assert not torch.equal(ours, plain)
    assert torch.equal(case.draw(studio.pipe), plain)
    assert set(sizes) == {4 if "four" in case.name else sizes[0]}


def prompted_twice(answer: Any) -> Any:
    return double(tree_map(lambda x: x[len(x) // 2 :] if isinstance(x, Tensor) else x, answer))


def test_an_attached_run_without_guidance_is_left_alone() -> None:
    case = stable_diffusion.CASES[0]
    studio, arguments = studio_of(case), {**case.arguments(), "guidance_scale": 1.0}
    arguments.pop("generator")
    draws = []
    for strategies in ([], [NEVER]):
        with studio.strategies.using(*strategies):
            seed = torch.Generator().manual_seed(0)
            draws.append(studio.pipe(**arguments, generator=seed)[0])
    assert torch.equal(torch.as_tensor(draws[0]), torch.as_tensor(draws[1]))


def test_code_that_parts_answers_otherwise_is_not_understood() -> None:
    assert find_doubled(diffusers.StableDiffusionPipeline) == {"unet"}
    for kind in (
        diffusers.StableDiffusionInstructPix2PixPipeline,  # in three
        diffusers.StableDiffusionPAGPipeline,  # in two or three
        diffusers.WanPipeline,  # one call after the other
        diffusers.FluxPipeline,
    ):
        assert not find_doubled(kind)


def test_a_run_that_the_prompt_has_not_steered_says_so() -> None:
    pipe = build()
    pipe.strategies.enable(dpnb.GuidanceInterval(0.5, 0.55))
    asked = list[tuple[str, ...]]()

    def ask(_: Any, *__: Any) -> dict[str, Any]:
        asked.append(pipe.strategies.remarks)
        return {}

    draw(pipe, steps=2, callback_on_step_end=ask)
    assert asked == [(), ()]
    (remark,) = pipe.strategies.remarks
    assert "none of the 2 steps of the last run: the middle of none is from 0.5 to 0.55" in remark
    draw(pipe, steps=1)
    assert pipe.strategies.remarks == ()


def test_a_run_that_was_told_to_end_says_nothing_of_what_it_has_not_come_to() -> None:
    pipe = build()
    pipe.strategies.enable(dpnb.GuidanceInterval(0.5, 1))

    def end(_: Any, *__: Any) -> dict[str, Any]:
        pipe.interrupt_run()
        return {}

    draw(pipe, steps=4, callback_on_step_end=end)
    assert pipe.strategies.remarks == ()
