"""The parts of a run, for loops of one's own: what cannot be done is said."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import pytest
import torch

import dpnb
from dpnb.pipelines.flux_loop_parts import FluxLoopParts
from tests.strategies.pipes import build

CLASSES: dict[str, Any] = {
    name: getattr(dpnb, name)
    for name in dpnb.__all__
    if hasattr(getattr(dpnb, name), "check_input_names")
    and hasattr(getattr(diffusers, name, None), "check_inputs")
}


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-sdxl", "tiny-flux", "tiny-ldm"])
def test_impossible_arguments_are_refused(name: str) -> None:
    pipe = build(name)
    pipe.check_inputs(prompt="a cat", height=32, width=32)
    with pytest.raises(ValueError, match="height is 3;"):
        pipe.check_inputs(prompt="a cat", height=3, width=32)
    with pytest.raises(ValueError, match="there is nothing to draw"):
        pipe.check_inputs(prompt=None, height=32, width=32)


def test_positions_follow_the_names() -> None:
    pipe: Any = build("tiny-sdxl")
    pipe.check_inputs("a cat", None, 32, 32, 1)
    with pytest.raises(ValueError, match="width is 31"):
        pipe.check_inputs("a cat", None, 32, 31, 1)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_names_are_those_of_the_peer(name: str) -> None:
    ours, theirs = CLASSES[name], getattr(diffusers, name)
    checked = [*inspect.signature(theirs.check_inputs).parameters][1:]
    assert [*ours.check_input_names] == checked


def test_what_is_too_much_is_refused() -> None:
    pipe: Any = build("tiny-sd")
    for values, named in (
        ((None,) * 11, {}),
        (("a cat",), {"prompt": "a cat"}),
        ((), {"hight": 3}),
    ):
        with pytest.raises(
            TypeError, match=r"check_inputs of StableDiffusionPipeline takes prompt, "
        ):
            pipe.check_inputs(*values, **named)


def test_strength_that_leaves_no_step_is_refused() -> None:
    pipe: Any = build("tiny-sd")
    pipe.scheduler.set_timesteps(10)
    assert pipe.get_timesteps(10, 0.35)[1] == 3
    with pytest.raises(ValueError, match="leaves none of 10 steps"):
        pipe.get_timesteps(10, 0.01)


def test_noise_has_the_variance_that_the_scheduler_begins_with() -> None:
    pipe: Any = build("tiny-sd")
    given = torch.ones(1, 4, 4, 4)
    made = pipe.prepare_latents(1, 4, 32, 32, torch.float32, "cpu", None, given)
    assert torch.equal(made, given * pipe.scheduler.init_noise_sigma)


def test_low_rank_weights_have_a_scale_of_their_own_while_prompts_are_read() -> None:
    pipe: Any = build("tiny-sd")
    layer = pipe.text_encoder.get_submodule("encoder.layers.0.self_attn.q_proj")
    rows, columns = layer.weight.shape
    key = "text_encoder.encoder.layers.0.self_attn.q_proj"
    pipe.load_lora_weights(
        {
            f"{key}.lora_A.weight": torch.ones(1, columns),
            f"{key}.lora_B.weight": torch.ones(rows, 1),
        }
    )
    with_it = pipe.encode_prompt("a cat", do_classifier_free_guidance=False)[0]
    without = pipe.encode_prompt("a cat", do_classifier_free_guidance=False, lora_scale=0)[0]
    pipe.unload_lora_weights()
    plain = pipe.encode_prompt("a cat", do_classifier_free_guidance=False)[0]
    assert torch.equal(without, plain)
    assert not torch.equal(with_it, plain)


def test_tokens_of_flux_and_their_places() -> None:
    pipe: Any = build("tiny-flux")
    assert isinstance(pipe, FluxLoopParts)
    tokens, ids = pipe.prepare_latents(
        2, 4, 48, 32, torch.float32, "cpu", torch.manual_seed(0), None
    )
    scale = 2 * pipe.vae_scale_factor
    assert tokens.shape == (2, (48 // scale) * (32 // scale), 16)
    assert ids.shape == (tokens.shape[1], 3)
    again, _ = pipe.prepare_latents(2, 4, 48, 32, torch.float32, "cpu", None, tokens)
    assert torch.equal(again, tokens)
