"""Callers are called back after steps, in both forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb


def draw(pipe: Any, **arguments: Any) -> Tensor:
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    arguments = {"num_inference_steps": 5, "output_type": "pt", **arguments}
    made: Tensor = pipe("a cat", generator=generator, **arguments).images
    return made


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_former_callback_hears_of_every_so_many_steps(every: int) -> None:
    seen: list[tuple[int, int]] = []

    def look(index: int, t: Tensor, latents: Tensor) -> None:
        seen.append((index, latents.shape[0]))

    pipe = dpnb.random_pipeline("tiny-sd")
    assert torch.equal(draw(pipe, callback=look, callback_steps=every), draw(pipe))
    assert seen == [(index, 1) for index in range(0, 5, every)]


def test_a_former_callback_counts_steps_of_the_method() -> None:
    pipe = dpnb.random_pipeline("tiny-sd")
    pipe.scheduler = dpnb.HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    seen: list[int] = []
    draw(pipe, num_inference_steps=3, callback=lambda index, t, latents: seen.append(index))
    assert seen == [0, 1, 2]


def test_what_one_returns_takes_the_places_of_tensors() -> None:
    pipe = dpnb.random_pipeline("tiny-sd")
    seen: list[float] = []

    def quiet(pipe: Any, index: int, t: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"latents": tensors["latents"] * 0}

    def look(index: int, t: Tensor, latents: Tensor) -> None:
        seen.append(float(latents.abs().max()))

    draw(pipe, callback_on_step_end=quiet, callback=look)
    assert seen == [0.0] * 5
    with pytest.raises(ValueError, match=r"callback_steps is 0; it must be a whole number"):
        draw(pipe, callback_steps=0)


def test_one_sees_that_there_is_no_negative_prompt() -> None:
    seen: list[object] = []

    def look(pipe: Any, index: int, t: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(tensors["negative_prompt_embeds"])
        return tensors

    pipe, asked = dpnb.random_pipeline("tiny-sd"), ["latents", "negative_prompt_embeds"]
    plain = draw(pipe, guidance_scale=1.0)
    given = {"callback_on_step_end": look, "callback_on_step_end_tensor_inputs": asked}
    assert torch.equal(draw(pipe, guidance_scale=1.0, **given), plain)
    assert seen == [None] * 5
