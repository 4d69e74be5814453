"""A tiny decoder makes small pictures of any latents, one after the other."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import nn

import dpnb
from dpnb.pipelines.attached.attach import to_explorable
from dpnb.widgets.preview_decoder import (
    MOST,
    decode_small,
    find_tiny_decoder,
    has_tiny_decoder,
    is_tiny_decoder,
)
from tests.reference.checkpoints import pipeline
from tests.widgets.decoders import tiny_decoder

SCALE = 2
LATENTS = torch.randn(3, 4, 6, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("library", [dpnb, diffusers])
def test_small_latents_become_what_the_decoder_makes_of_them(library: Any) -> None:
    decoder: Any = tiny_decoder(library, scaling_factor=0.5, shift_factor=0.25)
    assert is_tiny_decoder(tiny_decoder(library))
    pictures = decode_small(decoder, LATENTS, (1, 2))
    assert pictures is not None
    with torch.no_grad():
        levels = decoder.decode(LATENTS / 0.5 + 0.25, return_dict=False)[0]
    expected = ((levels.clamp(-1, 1) + 1) * 127.5).movedim(1, -1)
    for picture, one in zip(pictures, expected, strict=True):
        assert np.abs(np.asarray(picture, dtype=float) - one.numpy()).max() <= 1


def test_latents_that_are_packed_two_by_two_are_laid_out() -> None:
    decoder = tiny_decoder()
    packed = nn.functional.pixel_unshuffle(LATENTS, 2).flatten(2).movedim(1, -1)
    pictures, expected = (decode_small(decoder, one, (1, 2)) for one in (packed, LATENTS))
    assert pictures is not None
    assert expected is not None
    for one, other in zip(pictures, expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_large_latents_are_made_small_and_decoded_one_by_one() -> None:
    decoder: Any = tiny_decoder()
    seen: list[torch.Size] = []
    decoder.decoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    pictures = decode_small(decoder, torch.randn(3, 4, 50, 200), (1, 4))
    assert pictures is not None
    assert seen == [(1, 4, 16, MOST)] * 3
    assert [picture.size for picture in pictures] == [(MOST * SCALE, 16 * SCALE)] * 3


def test_latents_of_another_autoencoder_are_not_decoded() -> None:
    assert decode_small(tiny_decoder(), torch.randn(1, 7, 4, 4), (1, 1)) is None


def test_the_latents_of_half_a_pipeline_are_decoded_in_the_decoders_dtype() -> None:
    decoder = tiny_decoder().to(torch.float32)
    assert decode_small(decoder, LATENTS.bfloat16(), (1, 2)) is not None
    assert decode_small(decoder.to(torch.bfloat16), LATENTS, (1, 2)) is not None


class Plain(nn.Module):
    """Something else."""


def test_what_is_no_tiny_decoder_is_not_taken_for_one() -> None:
    assert not is_tiny_decoder(Plain())
    assert not is_tiny_decoder(None)


@pytest.mark.parametrize("is_attached", [False, True])
def test_a_pipelines_own_serves_unless_its_weights_are_streamed(is_attached: bool) -> None:
    drawn: Any = pipeline("sd1") if is_attached else dpnb.random_pipeline("tiny-sd")
    pipe = to_explorable(drawn)
    assert find_tiny_decoder(pipe, None) is None
    given = tiny_decoder()
    assert find_tiny_decoder(pipe, given) is given
    drawn.vae = own = tiny_decoder(diffusers if is_attached else dpnb)
    assert find_tiny_decoder(pipe, None) is own
    with pipe.strategies.using(dpnb.ModelOffload(device="simulated:8GiB/s")):
        assert find_tiny_decoder(pipe, None) is None
        assert find_tiny_decoder(pipe, given) is given
    assert find_tiny_decoder(pipe, None) is own


def test_the_one_beside_the_model_inside_decodes_its_previews() -> None:
    drawn: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", dtype=torch.float32)
    drawn.set_progress_bar_config(disable=True)
    pipe = to_explorable(drawn)
    assert has_tiny_decoder(pipe)
    decoder = find_tiny_decoder(pipe, None)
    assert decoder is not None
    assert decoder is find_tiny_decoder(pipe, None)
    asked = {"num_inference_steps": 4, "generator": torch.Generator().manual_seed(0)}
    latents = drawn("a red apple", output_type="latent", **asked).images
    pictures = decode_small(decoder, latents, (64, 64)), pipe.preview(latents)
    small, full = (np.asarray(one[0], dtype=float) for one in pictures if one is not None)
    assert np.abs(small - full).mean() < 12  # of 255
    assert not has_tiny_decoder(to_explorable(dpnb.random_pipeline("tiny-sd")))
