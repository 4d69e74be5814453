"""Weights by component and block, as `set_adapters` takes them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import dpnb
from dpnb.strategies.plans import plan_from_json, plan_to_json
from tests.strategies.pipes import adapter

PIPE: Any = dpnb.random_pipeline("tiny-sd")
PIPE.load_lora_weights(adapter(PIPE), "style")
PIPE.load_lora_weights(adapter(PIPE, seed=1), "other")
UNET = PIPE.unet


def factor(name: str) -> float:
    """How much of the style's change a layer has."""
    with PIPE.strategies.suspended():
        plain = PIPE.components[name.partition(".")[0]].get_submodule(name.partition(".")[2])
        before = plain.weight.detach().clone()
    tensors = adapter(PIPE)
    whole = tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
    difference = plain.weight.detach() - before
    share: float = ((difference * whole).sum() / whole.square().sum()).item()
    return round(share, 4)


DOWN = "unet.down_blocks.{}.attentions.{}.transformer_blocks.0.attn1.to_q"
UP = "unet.up_blocks.{}.attentions.{}.transformer_blocks.0.attn1.to_q"
MID = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT = "text_encoder.encoder.layers.0.self_attn.q_proj"
BLOCKS = sorted(
    {
        tuple(name.split(".")[:2])
        for name, _ in UNET.named_modules()
        if name.endswith("attentions.0")
    }
)


def test_numbers_of_any_kind_are_for_all() -> None:
    for given in (0.5, np.float32(0.5), torch.tensor(0.5), [0.5], np.array([0.5]), (0.5,)):
        PIPE.set_adapters("style", given)
        assert factor(MID) == factor(TEXT) == 0.5
    PIPE.set_adapters(["style", "other"], [0.25, None])
    assert PIPE.strategies.active == {dpnb.LoRA(1.0, ("style", "other"), (0.25, 1.0))}
    PIPE.set_adapters("style")
    assert factor(MID) == factor(TEXT) == 1


def test_components_have_their_own() -> None:
    PIPE.set_adapters("style", {"unet": 0.5})
    assert (factor(MID), factor(TEXT)) == (0.5, 1)
    PIPE.set_adapters(["style"], [{"text_encoder": 0, "unet": -2}])
    assert (factor(MID), factor(TEXT)) == (-2, 0)


def test_blocks_have_their_own() -> None:
    attending = [int(block) for side, block in BLOCKS if side == "up_blocks"]
    count = len(UNET.up_blocks[attending[0]].attentions)
    each = [0.25 * (i + 2) for i in range(count)]
    PIPE.set_adapters("style", {"unet": {"up": {f"block_{attending[0]}": each}, "mid": 3.0}})
    for i, wanted in enumerate(each):
        assert factor(UP.format(attending[0], i)) == wanted
    assert factor(MID) == 3
    assert factor(DOWN.format(*down_block(), 0)) == 1
    PIPE.set_adapters("style", {"unet": {"down": 0.5, MID.removeprefix("unet."): 0.75}})
    assert factor(DOWN.format(*down_block(), 0)) == 0.5
    assert factor(MID) == 0.75
    plan = PIPE.strategies.active
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


def down_block() -> tuple[int, ...]:
    return tuple(int(block) for side, block in BLOCKS if side == "down_blocks")[:1]


def test_components_that_are_not_there_are_told(caplog: pytest.LogCaptureFixture) -> None:
    PIPE.set_adapters("style", {"vea": 0.0})
    assert "not part of the pipeline: ['vea']. Those that are: vae" in caplog.text
    assert PIPE.strategies.active == {dpnb.LoRA(1.0, ("style",))}


@pytest.mark.parametrize(
    ("weights", "kind", "message"),
    [
        ([1.0, 2.0], ValueError, "adapter_weights are 2 and adapter_names 1; give one for each"),
        ("much", TypeError, "adapter_weights holds 'much'; use numbers"),
        ({"unet": "much"}, TypeError, "adapter_weights holds 'much'; use numbers"),
        (float("nan"), ValueError, "adapter_weights holds nan; use finite numbers"),
        ({"unet": {"left": 1.0}}, ValueError, "names 'left', which is not there; use down, mid"),
        (
            {"unet": {"down": {"block_9": 1.0}}},
            ValueError,
            r"down\.block_9, which has no attention",
        ),
        ({"unet": {"down": [1.0] * 9}}, ValueError, r"has 9 numbers for down\.block_\d, which has"),
        ({"unet": {"mid": [1.0, 2.0]}}, ValueError, "has 2 numbers for mid, which has 1"),
        ({"text_encoder": {"down": 1.0}}, ValueError, "'down', which is not there; use names of"),
    ],
)
def test_what_cannot_be_meant_is_refused(weights: Any, kind: type[Exception], message: str) -> None:
    PIPE.set_adapters("style")
    with pytest.raises(kind, match=message):
        PIPE.set_adapters("style", weights)
    assert PIPE.strategies.active == {dpnb.LoRA(1.0, ("style",))}
