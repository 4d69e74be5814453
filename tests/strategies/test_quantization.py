"""Weights that are stored in 8 or 4 bits while that is switched on."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import dpnb
from dpnb.errors import StrategyError
from dpnb.nn.quantized import SWITCHED, nbytes_of, quantization_of
from dpnb.planning.planner import plan
from dpnb.planning.weight_sizes import idle_weight_bytes
from dpnb.planning.workload import Workload
from dpnb.stages import Stage
from dpnb.strategies import quantization
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.quantization import Quantization
from dpnb.strategies.strategy import Strategy
from tests.planning.test_step_prediction import CPU, errors
from tests.source import ROOT
from tests.strategies.foreign_owner import PartsStack
from tests.strategies.pipes import LINK, build, draw, live_bytes, networks, traces, values

pytestmark = pytest.mark.exhaustive

WAYS = {
    "int8": Quantization(),
    "fp8": Quantization("fp8"),
    "nf4": Quantization("nf4"),
    "int8 of bitsandbytes": Quantization("int8", "bitsandbytes"),
}

OTHERS: dict[str, Strategy] = {
    "`SequentialOffload`": dpnb.SequentialOffload(device=LINK),
    "`ModelOffload`": dpnb.ModelOffload(LINK),
    "`DeviceMap`, whole components": DeviceMap("cpu"),
    "`DeviceMap`, parts on the disk": DeviceMap((("unet.mid_block.resnets.0", "disk"),)),
    "`ConditioningCache`": dpnb.ConditioningCache(),
    "`LoRA`": dpnb.LoRA(),
    "`Precision`": dpnb.Precision(),
    "`LayerwiseCasting`": dpnb.LayerwiseCasting(),
    "`QKVFusion`": dpnb.QKVFusion(),
}

BY_TORCHAO = {"`DeviceMap`, parts on the disk"}
BY_BITSANDBYTES = {*BY_TORCHAO, "`SequentialOffload`", "`ModelOffload`", "`ConditioningCache`"}
REFUSED = {
    "int8": BY_TORCHAO,
    "fp8": BY_TORCHAO,
    "nf4": BY_BITSANDBYTES,
    "int8 of bitsandbytes": BY_BITSANDBYTES,
}
"""Way → what cannot be on beside it."""


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


@cache
def known() -> tuple[Any, Tensor, dict[str, Any]]:
    """A pipeline, what it draws with nothing on, and what is what in it."""
    pipe = build("tiny-sd")
    return pipe, draw(pipe), traces(pipe)


# --- beside others ---


@pytest.mark.parametrize(
    ("way", "other"),
    [
        *product(("int8", "nf4"), OTHERS),
        *product(("fp8", "int8 of bitsandbytes"), ("`ModelOffload`", "`LoRA`")),
    ],
)
def test_it_works_beside_another_or_says_why_not(way: str, other: str) -> None:
    pipe, plain, before = known()
    stack = pipe.strategies
    stack.use([OTHERS[other]])
    alone = draw(pipe)
    if other in REFUSED[way]:
        with pytest.raises(StrategyError, match=r"^[^.]+\.$"):
            stack.enable(WAYS[way])
        assert stack.active == {OTHERS[other]}
        assert torch.equal(draw(pipe), alone)
    else:
        stack.enable(WAYS[way])
        assert stack.active == {OTHERS[other], WAYS[way]}
        assert quantization_of(pipe.text_encoder) is not None
        assert 0 < (draw(pipe) - alone).abs().mean() < 0.02
    stack.use([])
    assert traces(pipe) == before
    assert torch.equal(draw(pipe), plain)


def test_the_table_of_what_goes_together_is_that_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for other in OTHERS:
        cells = ["no" if other in REFUSED[way] else "yes" for way in ("int8", "nf4")]
        assert f"| {other} | {cells[0]} | {cells[1]} |" in text


@pytest.mark.parametrize("way", ["int8", "nf4"])
def test_what_is_saved_is_plain(way: str, pipe: Any, tmp_path: Path) -> None:
    plain = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    with pipe.strategies.using(WAYS[way]):
        pipe.save_pretrained(tmp_path / "whole")
        pipe.unet.save_pretrained(tmp_path / "unet")
        assert quantization_of(pipe.unet) is not None
    for folder in (tmp_path / "whole" / "unet", tmp_path / "unet"):
        saved = load_file(folder / "diffusion_pytorch_model.safetensors")
        assert all(torch.equal(saved[name], plain[name]) for name in plain)


def test_a_pipeline_is_cast_beneath_it(pipe: Any) -> None:
    with pipe.strategies.using(Quantization()):
        pipe.to(torch.bfloat16)
        assert quantization_of(pipe.unet) == "int8"
        assert pipe.unet.dtype == torch.bfloat16
        assert draw(pipe).isfinite().all()
    assert {p.dtype for p in pipe.unet.parameters()} == {torch.bfloat16}


# --- what is stored ---


def test_each_component_is_stored_in_its_own_way(pipe: Any) -> None:
    plain, wanted = draw(pipe), {"unet": "int8", "text_encoder": "nf4"}
    with pipe.strategies.using(Quantization.of(wanted)):
        for name, network in networks(pipe).items():
            assert quantization_of(network) == wanted.get(name)
        assert 0 < (draw(pipe) - plain).abs().mean() < 0.02


def test_the_autoencoder_is_left_out_unless_it_is_named(pipe: Any) -> None:
    with pipe.strategies.using(Quantization()):
        assert quantization_of(pipe.vae) is None
    with pipe.strategies.using(Quantization(components=("vae",))):
        assert quantization_of(pipe.vae) == "int8"
        assert quantization_of(pipe.unet) is None


def test_it_is_what_from_pretrained_takes(pipe: Any, tmp_path: Path) -> None:
    pipe.unload_lora_weights()
    pipe.save_pretrained(tmp_path)
    wanted = Quantization("int8", components=("unet",))
    loaded: Any = dpnb.DiffusionPipeline.from_pretrained(tmp_path, quantization_config=wanted)
    loaded.set_progress_bar_config(disable=True)
    with pipe.strategies.using(wanted):
        assert quantization_of(loaded.unet) == quantization_of(pipe.unet) == "int8"
        assert quantization_of(loaded.text_encoder) is None
        assert (draw(loaded) - draw(pipe)).abs().max() <= 0.02


@pytest.mark.parametrize("way", ["int8", "int8 of bitsandbytes"])
def test_memory_goes_down_by_what_is_not_stored(way: str, pipe: Any) -> None:
    draw(pipe)
    before, full = live_bytes(), sum(map(nbytes_of, networks(pipe).values()))
    pipe.strategies.enable(WAYS[way])
    small = sum(map(nbytes_of, networks(pipe).values()))
    assert full - small > 200_000
    assert before - live_bytes() == full - small
    draw(pipe)
    pipe.strategies.use([])
    assert live_bytes() == before


def test_weights_that_are_used_twice_stay_as_they_are() -> None:
    inner = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64))
    inner[2].weight = inner[0].weight
    network = nn.Sequential(inner)
    strategies = PartsStack(transformer=network)
    plain = network(torch.ones(1, 64))
    strategies.enable(Quantization())
    kinds = [quantization_of(layer) for layer in inner]
    assert kinds == [None, "int8", None]
    assert 0 < (network(torch.ones(1, 64)) - plain).abs().max() < 0.05
    strategies.use([])
    assert torch.equal(network(torch.ones(1, 64)), plain)


def test_what_is_called_around_a_layer_is_called_around_what_stands_for_it() -> None:
    layer = nn.Linear(64, 64)
    inner = nn.Sequential(nn.Linear(64, 64), layer)  # the first tells which dtype it has
    network = nn.Sequential(inner)
    calls: list[int] = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    with PartsStack(transformer=network).using(Quantization("nf4")):
        assert inner[1] is not layer
        network(torch.ones(1, 64))
    assert inner[1] is layer
    assert calls == [1]


# --- in the middle of a run ---


@pytest.mark.parametrize("way", ["int8", "nf4"])
def test_it_comes_and_goes_between_two_steps(way: str, pipe: Any) -> None:
    plain, known = draw(pipe, steps=3), values(pipe)
    asked = {"num_inference_steps": 3, "output_type": "np"}
    generator = torch.Generator().manual_seed(0)
    for step in pipe.stream("a red fox", generator=generator, **asked):
        if step.stage is Stage.DENOISING:
            pipe.strategies.use([] if step.index else [WAYS[way]])
    drawn = torch.from_numpy(step.output.images)
    assert 0 < (drawn - plain).abs().mean() < 0.02
    assert all(torch.equal(one, known[name]) for name, one in values(pipe).items())
    assert torch.equal(draw(pipe, steps=3), plain)


# --- what is predicted ---


def test_memory_is_predicted_to_the_byte(pipe: Any) -> None:
    plans: list[Any] = [
        frozenset({Quantization.of({"unet": "nf4", "text_encoder": "int8"}), dpnb.Precision()}),
    ]
    profile = replace(CPU, link=64e9, torch_device=LINK)
    workload = Workload(height=32, width=32, steps=2)
    table = plan(pipe, workload=workload, device=profile, plans=plans)
    assert len(table) == len(plans)
    assert max(errors(pipe, table).values()) == 0


# --- what cannot be ---


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (
            Quantization(components=("brain",)),
            "Quantization names brain, and there are text_encoder, unet, vae.",
        ),
        (
            Quantization(components=("unet",), modules_to_not_convert=("brain",)),
            "modules_to_not_convert names 'brain', which unet does not have; give names of its "
            "layers, or parts of them.",
        ),
    ],
)
def test_mistakes_are_one_sentence(strategy: Strategy, sentence: str, pipe: Any) -> None:
    assert pipe.strategies.obstacle(strategy) == sentence


def test_what_does_not_work_in_a_dtype_says_so(pipe: Any) -> None:
    reason = pipe.strategies.obstacle(Quantization("int4"))
    assert reason is not None
    assert reason.startswith("int4 weights of unet do not work in float32 on cpu")


def test_what_layerwise_casting_stores_is_not_stored_again(pipe: Any) -> None:
    pipe.strategies.enable(dpnb.LayerwiseCasting())
    with pytest.raises(StrategyError, match="unet are stored small already, by LayerwiseCasting"):
        pipe.strategies.enable(Quantization(components=("unet",)))
    assert pipe.strategies.active == {dpnb.LayerwiseCasting()}


def test_a_missing_package_is_named(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "dpnb.loading.quantization.find_spec",
        lambda name: None if name == "bitsandbytes" else find(name),
    )
    assert pipe.strategies.obstacle(Quantization("nf4")) == (
        "nf4 weights need bitsandbytes, which is not installed; run pip install bitsandbytes."
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kind": "int3"}, "cannot be stored as 'int3'"),
        ({"kind": (("unet", "int3"),)}, "cannot be stored as 'int3'"),
        ({"kind": (("unet", "int8"),), "components": ("unet",)}, "kind names components already"),
        ({"kind": "nf4", "backend": "torchao"}, "'torchao' does not make nf4 weights"),
        ({"kind": "int8", "group_size": 64}, "group_size=64 is for int4"),
    ],
)
def test_values_that_make_no_sense_are_refused(arguments: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Quantization(**arguments)


def test_what_each_component_is_stored_as_may_be_a_mapping() -> None:
    make: Any = Quantization
    wanted = make((("unet", "int8"), ("text_encoder", "fp8")))
    assert make({"unet": "int8", "text_encoder": "fp8"}) == wanted
    assert make([["unet", "int8"], ["text_encoder", "fp8"]]) == wanted
    for wrong in (("unet", "int8"), 5, (), {"unet": 8}, None):
        with pytest.raises(TypeError, match=r'kind is .*such as \{"unet": "int8"\}'):
            make(wrong)


def test_layers_with_one_memory_stay_as_they_are(pipe: Any) -> None:
    with pipe.strategies.using(Quantization(components=("unet",))):
        layers = [one for one in pipe.unet.modules() if SWITCHED in vars(one)]
    shape = layers[-1].weight.shape
    one, other, *_ = (layer for layer in layers if layer.weight.shape == shape)
    other.weight.data = one.weight.data
    with pipe.strategies.using(Quantization(components=("unet",))):
        assert not {SWITCHED} & (vars(one).keys() | vars(other).keys())
        assert SWITCHED in vars(layers[0])
    assert one.weight.data_ptr() == other.weight.data_ptr()


def test_memory_that_ran_out_once_is_no_lasting_failure(
    pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Quantization("fp8", components=("text_encoder",))
    quantization._try_weights.cache_clear()  # others may have tried the same
    with monkeypatch.context() as patched:
        error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")
        patched.setattr("torchao.quantization.quantize_", Mock(side_effect=error))
        assert "can't allocate memory" in str(pipe.strategies.obstacle(wanted))
    assert "can't allocate memory" not in str(pipe.strategies.obstacle(wanted))


@pytest.mark.parametrize("way", ["nf4", "int8 of bitsandbytes", "int8"])
def test_scales_are_weighed_where_weights_are(way: str, pipe: Any) -> None:
    parts = networks(pipe).values()
    before = sum(map(nbytes_of, parts)), idle_weight_bytes(pipe.strategies.networks)
    with pipe.strategies.using(WAYS[way]):
        after = sum(map(nbytes_of, parts)), idle_weight_bytes(pipe.strategies.networks)
    assert before[0] - after[0] == before[1] - after[1] > 0
