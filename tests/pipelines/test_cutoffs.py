"""Callbacks that know which tensors they are to see."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dpnb.pipelines.cutoffs import (
    MultiPipelineCallbacks,
    PipelineCallback,
    SDCFGCutoffCallback,
    SDXLCFGCutoffCallback,
    tensors_seen_by,
)
from tests.strategies.pipes import build, draw


@pytest.mark.parametrize(
    ("name", "kind"), [("tiny-sd", SDCFGCutoffCallback), ("tiny-sdxl", SDXLCFGCutoffCallback)]
)
def test_guidance_ends_for_every_picture_of_a_batch(name: str, kind: Any) -> None:
    pipe = build(name)
    sizes: list[int] = []
    hook = pipe.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    pipe(
        ["a cat", "a dog"],
        num_inference_steps=4,
        height=32,
        width=32,
        output_type="latent",
        callback_on_step_end=kind(cutoff_step_ratio=0.5),
    )
    hook.remove()
    assert sizes == [4, 4, 4, 2]
    assert torch.equal(draw(pipe), draw(pipe))


def test_what_is_left_is_what_belongs_to_the_prompt() -> None:
    pipe, seen = build("tiny-sd"), list[torch.Tensor]()
    pipe.unet.register_forward_pre_hook(
        lambda _, __, named: seen.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    pipe(
        "a cat",
        negative_prompt="a dog",
        num_inference_steps=2,
        height=32,
        width=32,
        output_type="latent",
        callback_on_step_end=SDCFGCutoffCallback(cutoff_step_index=0, cutoff_step_ratio=None),
    )
    assert torch.equal(seen[1], pipe.encode_prompt("a cat")[0])


def test_several_see_what_any_of_them_sees() -> None:
    both = MultiPipelineCallbacks([SDCFGCutoffCallback(), SDXLCFGCutoffCallback()])
    assert tensors_seen_by(both) == ["prompt_embeds", "add_text_embeds", "add_time_ids"]
    assert tensors_seen_by(print) is None


def test_one_of_share_and_number_is_given() -> None:
    assert PipelineCallback(None, 3).cutoff_step(10) == 3
    for values in ((0.5, 3), (None, None)):
        with pytest.raises(ValueError, match="and not both"):
            PipelineCallback(*values)
    with pytest.raises(ValueError, match=r"cutoff_step_ratio is 1.5; it is a share"):
        PipelineCallback(1.5)
    with pytest.raises(NotImplementedError, match="does not say what its callback_fn does"):
        PipelineCallback()(None, 0, 0, {})
