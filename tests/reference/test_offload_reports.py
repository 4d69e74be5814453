"""Offloading comes off: diffusers' report #10452, over both packages, on late cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from tests.devices.cards import LateCards
from tests.devices.cuda_names import late_cards
from tests.reference.checkpoints import diffusers

WAYS = (
    ("enable_model_cpu_offload", "disable_model_cpu_offload"),
    ("enable_model_cpu_offload", "remove_all_hooks"),
    ("enable_sequential_cpu_offload", "disable_sequential_cpu_offload"),
    ("enable_sequential_cpu_offload", "remove_all_hooks"),
)
"""How people have tried to go back."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Any = dpnb.random_pipeline("tiny-sd")
    target = tmp_path_factory.mktemp("offloaded")
    made.save_pretrained(target)
    return target


@pytest.fixture(params=[dpnb, diffusers], ids=["dpnb", "diffusers"])
def pipe(request: pytest.FixtureRequest, folder: Path) -> Any:
    """Loaded before there are cards: their libraries would ask them for what they have not."""
    made = request.param.StableDiffusionPipeline.from_pretrained(folder)
    made.set_progress_bar_config(disable=True)
    return made


def draw(pipe: Any) -> Any:
    settings = {"num_inference_steps": 2, "height": 32, "width": 32, "output_type": "np"}
    return pipe("a red fox", generator=torch.Generator().manual_seed(0), **settings).images


def comes_back(pipe: Any, on: str, off: str) -> bool:
    """Whether a pipeline on a card is there again, and draws the same, after offloading."""
    pipe.to("cuda")
    expected = draw(pipe)
    getattr(pipe, on)(device="cuda")
    draw(pipe)
    if not hasattr(pipe, off):
        return False
    getattr(pipe, off)()
    networks = (pipe.unet, pipe.vae, pipe.text_encoder)
    is_there = all(next(one.parameters()).device.type == "cuda" for one in networks)
    return is_there and bool((draw(pipe) == expected).all())


@pytest.mark.parametrize(("on", "off"), WAYS)
def test_offloading_comes_off(pipe: Any, on: str, off: str) -> None:
    is_ours = isinstance(pipe, dpnb.DiffusionPipeline)
    with late_cards(LateCards(0)) as cards:
        assert comes_back(pipe, on, off) is is_ours, "diffusers comes back now: say so"
        assert cards.reports == [] or not is_ours
