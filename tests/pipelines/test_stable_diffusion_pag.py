"""Pipelines with perturbed-attention guidance among their arguments."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.loading.components.registry import PIPELINES
from dpnb.nn.perturbed_attention import find_self_attentions, perturb_attention
from tests.pipelines.derived import draw
from tests.strategies.pipes import build

NAMES = [name for name in PIPELINES if "PAG" in name]


@pytest.mark.parametrize("name", NAMES)
def test_every_class_is_steered_and_says_how(name: str) -> None:
    shape = "tiny-sdxl" if "XL" in name else "tiny-sd"
    pipe: Any = getattr(dpnb, name).from_pipe(build(shape))
    plain, steered = draw(pipe, pag_scale=0.0), draw(pipe, pag_scale=4.0)
    assert (plain - steered).abs().max() > 0.01
    assert (pipe.pag_scale, pipe.pag_adaptive_scale) == (4.0, 0.0)
    assert pipe.do_perturbed_attention_guidance


def test_layers_are_chosen_at_once() -> None:
    kind: Any = dpnb.StableDiffusionPAGPipeline
    pipe = kind.from_pipe(build("tiny-sd"), pag_applied_layers=["mid", "up"])
    assert pipe.pag_applied_layers == ["mid", "up"]
    with pytest.raises(ValueError, match="'middle'; it has some in"):
        pipe.set_pag_applied_layers("middle")
    assert pipe.pag_applied_layers == ["mid", "up"]
    with pytest.raises(ValueError, match="'middle'"):
        kind.from_pipe(build("tiny-sd"), pag_applied_layers="middle")


@pytest.mark.parametrize("without_prompt", [False, True])
def test_processors_perturb_the_last_entries_of_a_batch(without_prompt: bool) -> None:
    pipe: Any = dpnb.StableDiffusionPAGPipeline.from_pipe(build("tiny-sd"))
    unet, looks = pipe.unet, 3 if without_prompt else 2
    former = unet.attn_processors
    torch.manual_seed(0)
    latents, words = torch.randn(1, 4, 8, 8), torch.randn(looks, 4, unet.config.cross_attention_dim)
    words[-1] = words[-2]
    batch = latents.expand(looks, -1, -1, -1)
    with torch.no_grad():
        plain = unet(batch, 1, words).sample
        pipe._set_pag_attn_processor(["mid", "up"], without_prompt)
        steered = unet(batch, 1, words).sample
        with perturb_attention(find_self_attentions(unet, ["mid", "up"])):
            perturbed = unet(batch, 1, words).sample
    torch.testing.assert_close(steered[:-1], plain[:-1])
    torch.testing.assert_close(steered[-1], perturbed[-1])
    assert (steered[-1] - plain[-1]).abs().max() > 1e-4
    layers = [name for name in former if "attn1" in name and "down" not in name]
    assert [*pipe.pag_attn_processors] == layers
    unet.set_attn_processor(former)
    assert pipe.pag_attn_processors == {}
    with pytest.raises(ValueError, match="'middle'; it has some in"):
        pipe._set_pag_attn_processor(["middle"], without_prompt)


def test_a_scale_below_nothing_is_refused() -> None:
    pipe: Any = dpnb.StableDiffusionPAGPipeline.from_pipe(build("tiny-sd"))
    with pytest.raises(ValueError, match=r"pag_scale is -1.*; it is at least 0"):
        draw(pipe, pag_scale=-1)


def test_callbacks_may_end_it() -> None:
    pipe: Any = dpnb.StableDiffusionPAGPipeline.from_pipe(build("tiny-sd"))
    seen = list[list[int]]()

    def end(pipe: Any, index: int, t: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append([len(tensors["prompt_embeds"]), len(pipe.pag_attn_processors)])
        if index == 0:
            without, given, perturbed = tensors["prompt_embeds"].chunk(3)
            assert torch.equal(given, perturbed)
            pipe._pag_scale = 0.0
            tensors["prompt_embeds"] = torch.cat((without, given))
        return tensors

    assert pipe.pag_attn_processors == {}
    asked = {"callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    ended = draw(pipe, num_inference_steps=2, callback_on_step_end=end, **asked)
    assert seen == [[3, 1], [2, 0]]
    plain, steered = (draw(pipe, num_inference_steps=2, pag_scale=scale) for scale in (0.0, 3.0))
    assert min((ended - other).abs().max() for other in (plain, steered)) > 0.001


@pytest.mark.parametrize("name", NAMES)
def test_what_callbacks_return_unchanged_changes_nothing(name: str) -> None:
    shape = "tiny-sdxl" if "XL" in name else "tiny-sd"
    pipe: Any = getattr(dpnb, name).from_pipe(build(shape))
    names, seen = type(pipe)._callback_tensor_inputs, list[dict[str, Any]]()

    def copy(pipe: Any, index: int, t: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append({n: None if one is None else len(one) for n, one in tensors.items()})
        return {n: one.clone() for n, one in tensors.items() if one is not None}

    asked = {"callback_on_step_end": copy, "callback_on_step_end_tensor_inputs": names}
    for scale in (1.0, 5.0):
        plain = draw(pipe, guidance_scale=scale)
        assert torch.equal(plain, draw(pipe, guidance_scale=scale, **asked))
    assert seen[0].keys() == {*names}
    assert (seen[0]["prompt_embeds"], seen[0]["negative_prompt_embeds"]) == (2, None)
    assert (seen[-1]["prompt_embeds"], seen[-1]["negative_prompt_embeds"]) == (3, 1)
