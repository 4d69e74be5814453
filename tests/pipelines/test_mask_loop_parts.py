"""Loops of one's own around a mask begin and see what a run does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.pipelines.mask_loop_parts import fill_batch
from tests.pipelines.derived import INSTRUCTION, MASK, PICTURE, derive, draw, like
from tests.strategies.pipes import build

NAMES = {
    "tiny-sd": "StableDiffusionInpaintPipeline",
    "tiny-sdxl": "StableDiffusionXLInpaintPipeline",
}
PLACE = (torch.float32, "cpu")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=NAMES)
def pipe(request: pytest.FixtureRequest) -> Any:
    base = build(request.param)
    kind: Any = getattr(dpnb, NAMES[request.param])
    made = kind.from_pipe(base, unet=like(base.unet, in_channels=9))
    made.set_progress_bar_config(disable=True)
    return made


def picture(pipe: Any) -> Tensor:
    made: Tensor = pipe.image_processor.preprocess(PICTURE, height=32, width=32)
    return made


def test_a_loop_begins_and_sees_what_a_run_does(pipe: Any) -> None:
    seen: dict[str, Tensor] = {}

    def note(pipe: Any, index: int, t: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.update(tensors)
        return tensors

    draw(
        pipe,
        num_inference_steps=1,
        generator=seeded(),
        callback_on_step_end=note,
        callback_on_step_end_tensor_inputs=["mask", "masked_image_latents"],
        strength=1.0,
    )
    generator, x = seeded(), picture(pipe)
    mask = pipe.mask_processor.preprocess(MASK, height=32, width=32)
    pipe.prepare_latents(1, 4, 32, 32, *PLACE, generator, image=x)
    small, rest = pipe.prepare_mask_latents(
        mask, x * (mask < 0.5), 1, 32, 32, *PLACE, generator, True
    )
    assert torch.equal(small, seen["mask"])
    assert torch.allclose(rest, seen["masked_image_latents"], atol=1e-6)
    assert len(small) == len(rest) == 2


def test_a_picture_is_needed_where_something_of_it_is_to_stay(pipe: Any) -> None:
    place = (1, 4, 32, 32, *PLACE, seeded())
    with pytest.raises(ValueError, match=r"is_strength_max=False .* give image and timestep"):
        pipe.prepare_latents(*place, is_strength_max=False)
    with pytest.raises(ValueError, match=r"return_image_latents asks for .* give image"):
        pipe.prepare_latents(*place, return_image_latents=True)
    if "XL" in type(pipe).__name__:
        with pytest.raises(ValueError, match=r"without add_noise a run begins .* give image"):
            pipe.prepare_latents(*place, add_noise=False)


def test_a_batch_is_filled_by_what_divides_it() -> None:
    batch = torch.arange(2.0)[:, None, None, None]
    assert fill_batch("image", batch, 4).flatten().tolist() == [0, 1, 0, 1]
    assert fill_batch("image", batch, 1) is batch
    with pytest.raises(ValueError, match="mask has 2 entries for 3 pictures; give one, or a num"):
        fill_batch("mask", batch, 3)


@pytest.mark.parametrize("kind", INSTRUCTION)
def test_a_network_sees_the_means_of_a_picture(kind: Any) -> None:
    pipe = derive(kind)
    seen: list[Tensor] = []
    pipe.unet.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, 4:]))
    draw(pipe, num_inference_steps=1)
    made = pipe.prepare_image_latents(picture(pipe), 1, 1, *PLACE, True)
    with_it, again, without = made.chunk(3)
    assert torch.equal(with_it, again)
    assert not without.any()
    assert torch.allclose(seen[0], torch.cat((without, with_it, again)), atol=1e-6)
    assert len(pipe.prepare_image_latents(picture(pipe), 2, 2, *PLACE, False)) == 4
