"""Pipelines with perturbed-attention guidance among their arguments."""

from __future__ import annotations

from typing import Any

import pytest

import dpnb
from dpnb.loading.components.registry import PIPELINES
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


def test_a_scale_below_nothing_is_refused() -> None:
    pipe: Any = dpnb.StableDiffusionPAGPipeline.from_pipe(build("tiny-sd"))
    with pytest.raises(ValueError, match=r"pag_scale is -1.*; it is at least 0"):
        draw(pipe, pag_scale=-1)
