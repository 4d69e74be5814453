"""A picture that is changed as an instruction says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import ComponentError, StrategyError
from tests.pipelines.derived import INSTRUCTION, derive, draw
from tests.strategies.pipes import build


@pytest.mark.parametrize("kind", INSTRUCTION)
@pytest.mark.parametrize(
    ("scales", "looks"), [((7.5, 1.5), 3), ((1.0, 1.5), 1), ((7.5, 0.9), 1), ((7.5, 1.0), 3)]
)
def test_every_latent_is_looked_at_three_times(
    kind: Any, scales: tuple[float, float], looks: int
) -> None:
    pipe, sizes = derive(kind), list[int]()
    pipe.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    draw(pipe, guidance_scale=scales[0], image_guidance_scale=scales[1], num_inference_steps=2)
    assert sizes == [looks, looks]
    assert pipe.image_guidance_scale == scales[1]


def test_guidance_ends_in_the_middle_of_a_run() -> None:
    pipe, seen = derive(INSTRUCTION[0]), list[torch.Tensor]()
    pipe.unet.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, 4:]))

    def end(pipe: Any, *_: Any) -> dict[str, Any]:
        pipe._guidance_scale = 0.0
        return {}

    draw(pipe, num_inference_steps=2, callback_on_step_end=end)
    assert [len(beside) for beside in seen] == [3, 1]
    without, *pictured = seen[0]
    assert not without.any()
    assert all(torch.equal(seen[1][0], beside) for beside in pictured)


def test_the_picture_decides_the_size() -> None:
    pipe = derive(INSTRUCTION[0])
    picture = torch.rand(1, 3, 48, 40)
    assert draw(pipe, image=picture, height=None, width=None).shape[-2:] == (48, 40)


def test_what_it_cannot_do_is_refused() -> None:
    pipe = derive(INSTRUCTION[0])
    with pytest.raises(TypeError, match="timesteps is not an argument of this pipeline: give num"):
        draw(pipe, timesteps=[999, 1])
    with pytest.raises(TypeError, match="negative_target_size is not an argument"):
        draw(derive(INSTRUCTION[1]), negative_target_size=(16, 16))
    with pytest.raises(ValueError, match="begins with a picture; give image="):
        pipe("make it red")
    with pytest.raises(StrategyError, match="classifier-free guidance steers; there is none"):
        pipe.strategies.enable(dpnb.PerturbedAttention())
    other: Any = INSTRUCTION[0].from_pipe(build("tiny-sd"))
    with pytest.raises(ComponentError, match="the UNet takes 4 channels; one that follows instruc"):
        draw(other)
