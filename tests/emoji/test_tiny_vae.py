"""The tiny autoencoder that stands beside the model inside."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.emoji import PROMPTS
from dpnb.emoji.autoencoder import signal_to_noise
from dpnb.emoji.tiny import TINY, Imitation, build_tiny_autoencoder, decode, draw_latents, vary
from dpnb.metering.tensors import TensorMeter
from dpnb.models.tiny_autoencoder import AutoencoderTiny
from dpnb.planning.weight_sizes import idle_weight_bytes
from dpnb.strategies.tiny_decoder import load_tiny_beside

NEAR = 24.0
"""dB that its pictures are from the full decoder's, at least; they were measured at more."""


@pytest.fixture(scope="module")
def pipe() -> Any:
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_its_pictures_are_near_those_of_the_full_one(pipe: Any) -> None:
    asked: dict[str, Any] = {"num_inference_steps": 8, "output_type": "pt"}
    draws = []
    for strategies in ([], [dpnb.TinyDecoder()]):
        with pipe.strategies.using(*strategies):
            seeds = [torch.Generator().manual_seed(1000 + n) for n in range(4)]
            draws.append(pipe(list(PROMPTS[:4]), generator=seeds, **asked).images)
    error = (draws[0] - draws[1]).square().mean().item()
    assert signal_to_noise(4 * error) > NEAR


def test_plans_know_what_it_holds(pipe: Any) -> None:
    chosen = frozenset({dpnb.TinyDecoder()})
    for model in (pipe, "dpnb/emoji-64"):
        (row,) = dpnb.plan(model, plans=[chosen], steps=1, device="RTX 3060", dtype=torch.float32)
        assert row.plan == chosen
    with pipe.strategies.using(*chosen), dpnb.record(pipe, TensorMeter()) as trace:
        pipe("a red apple", num_inference_steps=1, output_type="np")
        rest = idle_weight_bytes(pipe.strategies.networks)
    assert row.peaks["decoding"] == trace.by_stage()["decoding"].peak + rest


def test_it_is_small_and_stored_in_halves() -> None:
    assert sum(file.stat().st_size for file in TINY.iterdir()) < 300_000
    tiny = load_tiny_beside("dpnb/emoji-64")
    assert tiny is not None
    assert tiny is load_tiny_beside("dpnb/emoji-64")
    assert tiny.scale == 4
    assert [p.shape for p in tiny.parameters()] == [
        p.shape for p in build_tiny_autoencoder().parameters()
    ]


def test_what_it_encodes_it_decodes(pipe: Any) -> None:
    latents = draw_latents(pipe, list(PROMPTS[:2]), 7)
    pictures = decode(pipe.vae, latents)
    tiny: Any = load_tiny_beside("dpnb/emoji-64")
    with torch.no_grad():
        restored = tiny.decode(tiny.encode(pictures).latents).sample
    assert signal_to_noise((restored - pictures).square().mean().item()) > NEAR - 8


def test_it_learns_what_its_teacher_does(pipe: Any) -> None:
    torch.manual_seed(0)
    latents = torch.randn(4, 4, 16, 16)
    assert vary(latents, 3).shape == (3, 4, 16, 16)
    tiny: AutoencoderTiny = build_tiny_autoencoder()
    task = Imitation(tiny, pipe.vae, latents, samples=2)
    optimizer = torch.optim.Adam(tiny.parameters(), 3e-3)
    errors = []
    for _ in range(12):
        loss, error = task.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(error)
    assert sum(errors[-3:]) < 0.8 * sum(errors[:3])
