"""Low-rank changes of half-precision weights, under everything else that may be on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.strategies.strategy import Effect, Strategy
from tests.strategies.pipes import FLUX_SAMPLES, SAMPLES, adapter, build, draw, traces, values

pytestmark = pytest.mark.exhaustive

PIPES: dict[str, Any] = {name: build(name, "bfloat16") for name in ("tiny-sd", "tiny-flux")}
LORA = dpnb.LoRA(8.0)
CASES = [
    (name, sample)
    for name, samples in (("tiny-sd", SAMPLES), ("tiny-flux", FLUX_SAMPLES))
    for sample in samples
    # All weights on the disk are many files, float16 stores no fewer bytes than bfloat16, and in
    # that everything is already.
    if not isinstance(sample, dpnb.LoRA)
    if sample not in (dpnb.DeviceMap("disk"), dpnb.LayerwiseCasting("float16"), dpnb.Precision())
]
LEAST: dict[type[Strategy], float] = {dpnb.GuidanceInterval: 0.25, dpnb.TinyDecoder: 0.2}
"""How much of a style is left at the least, where that is not half of it: less guidance makes less
of it, and another decoder shows it in another way."""


@pytest.mark.parametrize("name", PIPES)
def test_it_stays_beside_the_weights_and_goes_without_a_trace(name: str) -> None:
    pipe = PIPES[name]
    before, known, picture = traces(pipe), values(pipe), draw(pipe)
    pipe.strategies.enable(LORA)
    now = values(pipe)
    assert all(torch.equal(now[key], value) for key, value in known.items())
    with_it = draw(pipe)
    assert not torch.equal(with_it, picture)
    pipe.strategies.use([])
    assert traces(pipe) == before
    assert torch.equal(draw(pipe), picture)


@pytest.mark.parametrize(("name", "other"), CASES, ids=repr)
def test_it_is_the_same_style_whatever_else_is_on(name: str, other: Strategy) -> None:
    pipe = PIPES[name]
    before = traces(pipe)
    pictures: dict[tuple[Strategy, ...], Tensor] = {}
    for plan in ((), (LORA,), (other,), (LORA, other), (other, LORA)):
        for strategy in plan:
            pipe.strategies.enable(strategy)
        pictures[plan] = draw(pipe)
        pipe.strategies.use([])
    style = pictures[LORA,] - pictures[()]
    assert torch.equal(pictures[LORA, other], pictures[other, LORA])
    beside = pictures[LORA, other] - pictures[other,]
    assert LEAST.get(type(other), 0.5) * style.norm() <= beside.norm() <= 1.5 * style.norm()
    if other.effect is Effect.EXACT:
        assert (pictures[LORA, other] - pictures[LORA,]).norm() < 0.2 * style.norm()
    assert traces(pipe) == before


def test_float32_that_is_stored_smaller_keeps_small_changes() -> None:
    pipe = build()
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_out[0]
    pipe.unload_lora_weights()
    x = torch.randn(1, 8, layer.in_features)
    small = {k: v * (0.02 if "lora_B" in k else 1) for k, v in adapter(pipe).items()}
    for plan in ((), (dpnb.LayerwiseCasting(),), (dpnb.LayerwiseCasting("float16"),)):
        pipe.strategies.use(plan)
        plain = layer(x)
        pipe.load_lora_weights(small)
        change = layer(x) - plain
        pipe.unload_lora_weights()
        if not plan:
            expected = change
        assert (change - expected).norm() < 0.01 * expected.norm()
