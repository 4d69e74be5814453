"""What holds for every strategy of the catalog over quantized networks: it works, or says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import dpnb
from dpnb.errors import StrategyError
from dpnb.nn.quantized import plain_tensors
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.lora import LoRA
from dpnb.strategies.offload.blocks import tensors_of
from dpnb.strategies.offload.packing import ALIGNMENT
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.precision import Precision
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.quantization import Quantization
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Effect, Strategy
from tests.strategies.pipes import LINK, SAMPLES, build, draw, live_bytes, networks, traces

pytestmark = pytest.mark.exhaustive

WAYS: dict[str, Any] = {
    "torchao": {"unet": "int8", "text_encoder": "fp8", "vae": "int8"},
    "bitsandbytes": {"unet": dpnb.Quantization("int8", "bitsandbytes")},
}

REFUSED = {
    "torchao": {DeviceMap, QKVFusion, LoRA, Precision, Quantization},
    "bitsandbytes": {
        DeviceMap,
        QKVFusion,
        ModelOffload,
        SequentialOffload,
        ConditioningCache,
        LoRA,
    },
}
"""Strategies of the samples that cannot serve such weights."""

ROUNDING = {"torchao": 1e-5, "bitsandbytes": 2e-2}
"""bitsandbytes rounds what a layer is given to 8 bits, too, so that the smallest change shows."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny-sd")
    build("tiny-sd").save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pipes(folder: Path) -> dict[str, Any]:
    loaded = {way: load(folder, config) for way, config in WAYS.items()}
    for pipe in loaded.values():
        draw(pipe)  # bitsandbytes arranges its weights when they are first used
    return loaded


def load(folder: Path, config: Any) -> Any:
    pipe = dpnb.DiffusionPipeline.from_pretrained(folder, quantization_config=config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def contents(pipe: Any) -> list[torch.Tensor]:
    """A copy of whatever the weights are made of."""
    return [
        plain.detach().clone()
        for network in networks(pipe).values()
        for parameter in network.parameters()
        for plain in plain_tensors(parameter)
    ]


def layouts(pipe: Any) -> list[Any]:
    """The objects that quantized weights are made of, and where they are."""
    return [
        (id(plain), plain.device, plain.dtype, plain.stride())
        for network in networks(pipe).values()
        for parameter in network.parameters()
        for plain in plain_tensors(parameter)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SAMPLES, ids=repr)
@pytest.mark.parametrize("way", WAYS)
def test_it_is_undone_exactly_or_says_why_not(
    strategy: Strategy, way: str, pipes: dict[str, Any]
) -> None:
    pipe = pipes[way]
    before, known, where, picture = traces(pipe), contents(pipe), layouts(pipe), draw(pipe)
    if type(strategy) in REFUSED[way]:
        with pytest.raises(StrategyError, match=r"^[^.]+\.$"):
            pipe.strategies.enable(strategy)
    else:
        pipe.strategies.enable(strategy)
        if strategy.effect is Effect.EXACT:
            assert (draw(pipe) - picture).abs().max() <= ROUNDING[way]
        else:
            assert not torch.equal(draw(pipe), picture)
        pipe.strategies.use([])
    assert (traces(pipe), layouts(pipe)) == (before, where)
    after = contents(pipe)
    assert all(torch.equal(one, other) for one, other in zip(after, known, strict=True))
    assert torch.equal(draw(pipe), picture)


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [ModelOffload(LINK), SequentialOffload("3MiB", LINK), ConditioningCache(), LayerwiseCasting()],
    ids=repr,
)
def test_memory_after_undo_equals_memory_before(strategy: Strategy, pipes: dict[str, Any]) -> None:
    pipe = pipes["torchao"]
    draw(pipe)
    before = live_bytes()
    pipe.strategies.enable(strategy)
    draw(pipe)
    pipe.strategies.use([])
    assert live_bytes() == before


def test_all_that_can_be_on_together_are(pipes: dict[str, Any]) -> None:
    pipe = pipes["torchao"]
    before, picture = traces(pipe), draw(pipe)
    with pipe.strategies.using(SequentialOffload("3MiB", LINK), ConditioningCache()):
        assert torch.equal(draw(pipe), picture)
    assert traces(pipe) == before


def test_offloading_moves_only_what_is_stored(folder: Path) -> None:
    moved, stored = [], []
    for config in (None, {"unet": "int8"}):
        pipe = load(folder, config)
        pipe.strategies.enable(ModelOffload(LINK))
        draw(pipe, steps=1)
        link = pipe.strategies.networks.link
        assert link is not None
        moved.append(link.moved)
        sizes = [tensor.nbytes for tensor in tensors_of(pipe.unet)]
        stored.append(sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes))
    assert 0 < stored[0] - stored[1] == moved[0] - moved[1]


def test_casting_leaves_quantized_weights_alone(pipes: dict[str, Any]) -> None:
    unet: nn.Module = pipes["torchao"].unet
    layer = unet.get_submodule("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q")
    kinds = [plain.dtype for plain in plain_tensors(layer.get_parameter("weight"))]
    with pipes["torchao"].strategies.using(LayerwiseCasting()):
        inside = [plain.dtype for plain in plain_tensors(layer.get_parameter("weight"))]
    assert inside == kinds == [torch.int8, torch.float32, torch.int8]


def test_fusion_of_what_is_not_quantized_works(folder: Path) -> None:
    pipe = load(folder, {"unet": "int8"})
    sentence = pipe.strategies.obstacle(QKVFusion())
    assert "those of an attention layer are int8" in sentence
    picture = draw(pipe)
    with pipe.strategies.using(QKVFusion(unet=False)):
        assert (draw(pipe) - picture).abs().max() <= 1e-5


def test_a_whole_component_can_have_a_device(folder: Path) -> None:
    pipe = load(folder, "int8")
    picture = draw(pipe)
    with pipe.strategies.using(DeviceMap("cpu")):
        assert torch.equal(draw(pipe), picture)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_quantized_weights_stream_to_cuda(folder: Path, kind: str) -> None:
    pipe = load(folder, kind)
    pipe.to("cuda")
    picture, before = draw(pipe), traces(pipe)
    for strategy in (ModelOffload(), SequentialOffload(), ConditioningCache(), DeviceMap("cuda")):
        with pipe.strategies.using(strategy):
            assert (draw(pipe) - picture).abs().max() <= 1e-3
        assert traces(pipe) == before
        assert torch.equal(draw(pipe), picture)
