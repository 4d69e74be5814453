"""Reuse between steps: what is reused is of the step before, of the same branch of the same run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.errors import StrategyError
from dpnb.nn.attention_maps import RecordingKernel
from dpnb.strategies.reuse.branches import Branches
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.strategy import Effect
from tests.reference.foreign import flux
from tests.strategies.pipes import build, draw

STEPS = 6


@contextmanager
def hear_calls() -> Iterator[list[bool]]:
    """Within, whether each call of a network in a run has reused something."""
    heard: list[bool] = []
    end = Branches._end_call

    def note(branches: Any, *given: Any) -> None:
        if branches.present is not None:
            heard.append(branches.present.is_reusing)
        end(branches, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Branches, "_end_call", note)
        yield heard


def in_flags(reused: str) -> list[bool]:
    """A flag for each step, out of text such as `"0101"`."""
    return [sign == "1" for sign in reused]


def reused_steps(pipe: Any, **arguments: Any) -> list[bool]:
    """Which denoising steps of a run have reused something."""
    with dpnb.record(pipe, "tensors") as trace:
        draw(pipe, STEPS, **arguments)
    return [step.has_reused for step in trace.steps if step.stage == "denoising"]


@contextmanager
def reuse_by_hand(pipe: Any, reused: str, levels: int = 1, calls: int = 1) -> Iterator[None]:
    """Within, the deep blocks' output is that of the last step in which it was not to be reused.

    Everything is computed, and thrown away then: plain hooks, and no slot.

    Args:
        pipe: with a UNet.
        reused: a sign for each step.
        levels: that are not deep.
        calls: of the network in a step.
    """
    kept: dict[int, Tensor] = {}
    count = 0

    def exchange(_: Any, given: tuple[Any, ...], __: Any) -> None:
        nonlocal count
        step, call = divmod(count, calls)
        count += 1
        maps = given[0]
        if reused[step] == "1":
            maps[-1] = kept[call].clone()
        else:
            kept[call] = maps[-1].clone()

    handle = pipe.unet.up_blocks[-1 - levels].register_forward_hook(exchange)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("name", "cache", "reused"),
    [
        ("tiny-sd", StepCache(), "010100"),
        ("tiny-sd", StepCache(interval=3, last=0), "011011"),
        ("tiny-sdxl", StepCache(first=3, last=2), "000100"),
        ("tiny-sdxl", StepCache(interval=6, last=0, levels=9), "011111"),
        ("img2img", StepCache(last=0), "010101"),
        ("tiny-ldm", StepCache(last=0), "010101"),
    ],
)
def test_the_deep_blocks_of_a_former_step_are_reused(
    name: str, cache: StepCache, reused: str
) -> None:
    pipe: Any = dpnb.random_pipeline(name) if name == "tiny-ldm" else build(name)
    pipe.set_progress_bar_config(disable=True)
    arguments = {"strength": 1.0} if name == "img2img" else {}
    with pipe.strategies.using(cache):
        assert reused_steps(pipe, **arguments) == in_flags(reused)
        picture = draw(pipe, STEPS, **arguments)
    with reuse_by_hand(pipe, reused, min(cache.levels, len(pipe.unet.up_blocks) - 1)):
        assert torch.equal(draw(pipe, STEPS, **arguments), picture)


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-flux"])
@pytest.mark.parametrize("cache", [StepCache(interval=1, threshold=0), StepCache(first=STEPS)])
def test_what_reuses_nothing_changes_no_bit(name: str, cache: StepCache) -> None:
    pipe = build(name)
    plain = draw(pipe, STEPS)
    with pipe.strategies.using(cache):
        assert torch.equal(draw(pipe, STEPS), plain)
        assert not any(reused_steps(pipe))


def test_a_cache_that_can_reuse_nothing_is_exact() -> None:
    assert StepCache(interval=1, threshold=0).effect is Effect.EXACT
    assert StepCache().effect is Effect.APPROXIMATE


def test_branches_of_a_step_keep_what_is_theirs() -> None:
    """The network is called for both prompts in one batch, and once more while it is perturbed."""
    pipe = build("tiny-sd")
    on = [dpnb.PerturbedAttention(3.0)]
    with hear_calls() as heard, pipe.strategies.using(*on, StepCache(last=0)):
        picture = draw(pipe, STEPS)
        assert heard == [False, False, True, True] * 3
    with pipe.strategies.using(*on), reuse_by_hand(pipe, "010101", calls=2):
        assert torch.equal(draw(pipe, STEPS), picture)


def test_two_calls_for_one_prompt_are_two_branches() -> None:
    """Without guidance by a prompt, the perturbed call is given what the plain one is given."""
    pipe = build("tiny-sd")
    on = [dpnb.PerturbedAttention(3.0)]
    with pipe.strategies.using(*on, StepCache(last=0)):
        picture = draw(pipe, STEPS, guidance_scale=1.0)
    with pipe.strategies.using(*on), reuse_by_hand(pipe, "010101", calls=2):
        assert torch.equal(draw(pipe, STEPS, guidance_scale=1.0), picture)


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-flux"])
def test_nothing_of_a_run_is_left_for_the_next(name: str) -> None:
    pipe, cache = build(name), StepCache(threshold=10.0, last=0)
    with pipe.strategies.using(cache):
        first = draw(pipe, STEPS)

        def stop(_: Any, index: int, *__: Any) -> Any:
            if index == 2:
                raise ZeroDivisionError
            return {}

        with pytest.raises(ZeroDivisionError):
            draw(pipe, STEPS, guidance_scale=3.0, callback_on_step_end=stop)
        assert torch.equal(draw(pipe, STEPS), first)
        draw(pipe, STEPS, height=16, width=48, num_images_per_prompt=2)
        assert torch.equal(draw(pipe, STEPS), first)
    with pipe.strategies.using(cache):
        assert torch.equal(draw(pipe, STEPS), first)


def test_pipelines_over_one_network_draw_in_turn_what_each_draws_alone() -> None:
    pipe = build("tiny-sd")
    other = dpnb.StableDiffusionImg2ImgPipeline.from_pipe(pipe)
    with pipe.strategies.using(StepCache(last=0)):
        alone = draw(pipe, STEPS), draw(other, STEPS)
        for _ in range(2):
            assert torch.equal(draw(pipe, STEPS), alone[0])
            assert torch.equal(draw(other, STEPS), alone[1])
        stream = pipe.stream("a red fox", num_inference_steps=STEPS)
        for _ in range(4):
            next(stream)
        assert torch.equal(draw(other, STEPS), alone[1])


@pytest.mark.parametrize(
    ("on_at", "off_at", "reused"), [(2, STEPS, "000101"), (0, 3, "010000"), (1, 4, "001000")]
)
def test_it_is_switched_in_the_middle_of_a_run(on_at: int, off_at: int, reused: str) -> None:
    pipe = build("tiny-sd")
    cache = StepCache(last=0)
    if on_at == 0:
        pipe.strategies.enable(cache)

    def switch(owner: Any, index: int, *_: Any) -> Any:
        if index + 1 == on_at:
            owner.strategies.enable(cache)
        if index + 1 == off_at:
            owner.strategies.disable(StepCache)
        return {}

    picture = draw(pipe, STEPS, callback_on_step_end=switch)
    pipe.strategies.use([])
    with reuse_by_hand(pipe, reused):
        assert torch.equal(draw(pipe, STEPS), picture)


def test_a_prompt_that_changes_in_the_middle_is_another_branch() -> None:
    pipe = build("tiny-sd")

    def change(_: Any, index: int, __: Any, tensors: Any) -> Any:
        return {"prompt_embeds": tensors["prompt_embeds"].flip(1)} if index == 2 else {}

    def copy(_: Any, index: int, __: Any, tensors: Any) -> Any:
        return {"prompt_embeds": tensors["prompt_embeds"].clone()}

    pipe.strategies.enable(StepCache(last=0))
    tensors = {"callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    assert reused_steps(pipe, callback_on_step_end=change, **tensors) == in_flags("010010")
    assert reused_steps(pipe, callback_on_step_end=copy, **tensors) == in_flags("010101")


def test_a_prompt_that_is_overwritten_is_another_branch() -> None:
    pipe = build("tiny-sd")

    def overwrite(_: Any, index: int, __: Any, tensors: Any) -> Any:
        if index == 2:
            tensors["prompt_embeds"].mul_(2)
        return {}

    pipe.strategies.enable(StepCache(last=0))
    tensors = {"callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    assert reused_steps(pipe, callback_on_step_end=overwrite, **tensors) == in_flags("010010")


def test_attention_that_somebody_looks_at_is_computed() -> None:
    """Self-attention guidance reads the middle block's; its second call may be spared."""
    pipe = build("sag")
    seen: list[bool] = []
    attend = RecordingKernel.__call__

    def note(kernel: Any, *given: Any) -> Any:
        seen.append(True)
        return attend(kernel, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordingKernel, "__call__", note)
        with hear_calls() as heard, pipe.strategies.using(StepCache(last=0)):
            draw(pipe, STEPS, height=40, width=40)
    assert len(seen) == STEPS
    assert heard == [False, False, False, True] * 3


def test_calls_outside_of_a_run_are_computed_whole() -> None:
    pipe = build("tiny-sd")
    given = torch.randn(1, 4, 8, 8), 500, torch.randn(1, 7, pipe.unet.config.cross_attention_dim)
    with torch.no_grad():
        plain = pipe.unet(*given).sample
        pipe.strategies.enable(StepCache(last=0))
        for _ in range(3):
            assert torch.equal(pipe.unet(*given).sample, plain)


def test_freeu_and_reuse_leave_what_is_kept_alone() -> None:
    """FreeU scales the features that it is given where they are."""
    pipe = build("tiny-sdxl")
    on = [dpnb.FreeU()]
    with pipe.strategies.using(*on, StepCache(interval=3, last=0)):
        picture = draw(pipe, STEPS)
    with pipe.strategies.using(*on), reuse_by_hand(pipe, "011011"):
        assert torch.equal(draw(pipe, STEPS), picture)


def test_weights_of_blocks_that_are_left_out_are_not_fetched() -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)
    moved = []
    for cache in (StepCache(interval=1), StepCache()):
        on = dpnb.SequentialOffload(device="simulated:64GiB/s")
        with pipe.strategies.using(on, cache):
            link = pipe.strategies.networks.link
            before = link.moved
            pipe("red apple", num_inference_steps=STEPS, output_type="latent")
            moved.append(link.moved - before)
    assert moved[1] < 0.8 * moved[0]


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("interval", 0, "interval is 0; it is a whole number, at least 1."),
        ("first", True, "first is True"),
        ("last", -1, "last is -1; it is a whole number, at least 0."),
        ("threshold", -0.1, "threshold is -0.1"),
    ],
)
def test_a_mistake_is_one_sentence(field: str, value: Any, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        StepCache(**{field: value})


def test_a_network_that_is_compiled_as_a_whole_is_refused() -> None:
    pipe = build("tiny-sd")
    pipe.unet.compile(backend="eager")
    with pytest.raises(StrategyError, match="compiled as a whole"):
        pipe.strategies.enable(StepCache())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_network_that_steers_another_is_computed_whole() -> None:
    studio = dpnb.attach(next(c for c in flux.CASES if "ControlNet" in c.name).build())
    own = StepCache()
    assert own.acts_on(studio.pipe.transformer)
    assert not own.acts_on(studio.pipe.controlnet)


def test_a_run_that_has_reused_nothing_says_so() -> None:
    pipe = build()
    pipe.strategies.enable(StepCache(first=10))
    draw(pipe, steps=4)
    (remark,) = pipe.strategies.remarks
    assert remark.startswith("Nothing was reused in the 4 steps of the last run; draw in more")
    pipe.strategies.enable(StepCache())
    draw(pipe, steps=4)
    assert pipe.strategies.remarks == ()
