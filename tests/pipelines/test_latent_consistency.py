"""Stable Diffusion distilled to a few steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.errors import ComponentError
from tests.pipelines.derived import CONSISTENCY, derive, draw


@pytest.mark.parametrize("kind", CONSISTENCY)
def test_it_takes_four_steps_and_sees_each_latent_once(kind: Any) -> None:
    pipe, sizes = derive(kind), list[int]()
    pipe.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    draw(pipe)
    assert sizes == [1, 1, 1, 1]


def test_what_it_cannot_do_is_refused() -> None:
    pipe = derive(CONSISTENCY[0])
    with pytest.raises(TypeError, match="negative_prompt is not an argument of this pipeline: the"):
        draw(pipe, negative_prompt="a dog")
    seen = {
        "callback_on_step_end": lambda *_: {},
        "callback_on_step_end_tensor_inputs": ["latents"],
    }
    draw(pipe, **seen)
    seen["callback_on_step_end_tensor_inputs"] = ["negative_prompt_embeds"]
    with pytest.raises(ValueError, match="tensor_inputs names negative_prompt_embeds; this"):
        draw(pipe, **seen)
    with pytest.raises(ValueError, match="original_inference_steps"):
        draw(pipe, original_inference_steps=0)
    with pytest.raises(ValueError, match=r"strength is 0.0, which leaves nothing to draw"):
        draw(derive(CONSISTENCY[1]), strength=0.0)
    pipe.scheduler = dpnb.DDIMScheduler()
    with pytest.raises(ComponentError, match="DDIMScheduler has none; use LCMScheduler"):
        draw(pipe)


@pytest.mark.parametrize("kind", CONSISTENCY)
def test_callbacks_see_what_is_foreseen_and_the_guidance(kind: Any) -> None:
    pipe, seen = derive(kind), list[dict[str, Tensor]]()

    def note(pipe: Any, index: int, t: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(dict(tensors))
        return tensors

    asked: dict[str, Any] = {
        "callback_on_step_end_tensor_inputs": ["latents", "denoised", "w_embedding"],
        "output_type": "latent",
    }
    plain = draw(pipe, output_type="latent")
    assert torch.equal(draw(pipe, callback_on_step_end=note, **asked), plain)
    assert [one["latents"].equal(one["denoised"]) for one in seen] == [False, False, False, True]
    assert {tuple(one["w_embedding"].shape) for one in seen} == {(1, 8)}

    def replace(pipe: Any, index: int, t: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"denoised": tensors["denoised"] / 2}

    assert torch.equal(draw(pipe, callback_on_step_end=replace, **asked), plain / 2)
