"""Networks are saved, loaded and cast as if nothing were on, by their own methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import dpnb
from dpnb import (
    DeviceMap,
    LayerwiseCasting,
    LoRA,
    Precision,
    QKVFusion,
    Quantization,
    SequentialOffload,
    StepCache,
)
from dpnb.strategies.strategy import Strategy
from tests.reference.checkpoints import pipeline
from tests.strategies.pipes import build, draw, networks, traces

OFFLOAD = SequentialOffload(device="simulated:8GiB/s")


def saved(network: Any, folder: Path) -> dict[str, torch.Tensor]:
    """The weights that its method writes, and the text of its settings."""
    network.save_pretrained(folder)
    (file,) = folder.glob("*.safetensors")
    weights: dict[str, torch.Tensor] = load_file(file)
    return weights


@pytest.mark.parametrize("strategy", [LayerwiseCasting("bfloat16"), OFFLOAD], ids=repr)
@pytest.mark.parametrize("component", ["unet", "text_encoder"])
def test_a_component_is_saved_as_if_nothing_were_on(
    component: str, strategy: Strategy, tmp_path: Path
) -> None:
    pipe = pipeline("sd1")
    network = pipe.components[component]
    plain, own = saved(network, tmp_path / "plain"), dict(vars(network))
    strategies = dpnb.attach(pipe).strategies
    strategies.enable(strategy)
    switched = saved(network, tmp_path / "switched")
    assert strategies.active == {strategy}
    assert plain.keys() == switched.keys()
    assert all(torch.equal(switched[name], plain[name]) for name in plain)
    strategies.use([])
    assert vars(network).keys() - {"dpnb_attachment"} == own.keys() - {"dpnb_attachment"}


def test_a_method_of_the_owners_own_comes_back(tmp_path: Path) -> None:
    pipe = pipeline("sd1")
    calls: list[int] = []
    vars(pipe.unet)["save_pretrained"] = own = lambda folder: calls.append(1)
    with dpnb.attach(pipe).strategies.using(LayerwiseCasting()):
        pipe.unet.save_pretrained(tmp_path)
    assert calls == [1]
    assert vars(pipe.unet)["save_pretrained"] is own


def test_dpnbs_own_pipelines_save_their_text_encoders_so(tmp_path: Path) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    plain = saved(pipe.text_encoder, tmp_path / "plain")
    with pipe.strategies.using(OFFLOAD):
        switched = saved(pipe.text_encoder, tmp_path / "switched")
    assert all(torch.equal(switched[name], plain[name]) for name in plain)


REWRITTEN = [
    Precision(),
    LayerwiseCasting(),
    LoRA(),
    Quantization(),
    QKVFusion(),
    DeviceMap("disk"),
    OFFLOAD,
]


def filled(network: nn.Module, value: float) -> dict[str, torch.Tensor]:
    """Other weights for it."""
    return {k: torch.full_like(v, value) for k, v in network.state_dict().items()}


@pytest.mark.parametrize("strategy", REWRITTEN, ids=repr)
@pytest.mark.parametrize("component", ["unet", "text_encoder"])
def test_new_weights_stay_once_all_is_off(component: str, strategy: Strategy) -> None:
    pipe = build()
    network = networks(pipe)[component]
    plain, other, before = draw(pipe), filled(network, 0.01), traces(pipe)
    with pipe.strategies.using(strategy):
        network.load_state_dict(other)
        assert pipe.strategies.active == {strategy}
        switched = draw(pipe)
    assert all(torch.equal(v, other[k]) for k, v in network.state_dict().items())
    assert traces(pipe) == before
    assert not torch.equal(draw(pipe), plain)
    with pipe.strategies.using(strategy):
        assert torch.equal(draw(pipe), switched)


@pytest.mark.parametrize("strategy", REWRITTEN, ids=repr)
@pytest.mark.parametrize(
    "cast",
    [
        lambda network: network.to(torch.bfloat16),
        lambda network: network.to("cpu", dtype=torch.bfloat16),
        lambda network: network.bfloat16(),
        lambda network: network.type(torch.bfloat16),
    ],
)
def test_a_cast_stays_once_all_is_off(cast: Any, strategy: Strategy) -> None:
    pipe = build()
    cast_before = {k: v.bfloat16() for k, v in pipe.unet.state_dict().items()}
    pipe.strategies.enable(strategy)
    assert cast(pipe.unet) is pipe.unet
    pipe.strategies.use([])
    after = pipe.unet.state_dict()
    assert all(torch.equal(after[k], value) for k, value in cast_before.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_every_cast_by_name_stays(dtype: torch.dtype) -> None:
    name = {torch.float16: "half", torch.float32: "float", torch.float64: "double"}[dtype]
    pipe = build()
    pipe.unet.bfloat16()
    expected = {key: value.to(dtype) for key, value in pipe.unet.state_dict().items()}
    pipe.strategies.enable(LayerwiseCasting("float8_e4m3fn"))
    getattr(pipe.unet, name)()
    pipe.strategies.use([])
    after = pipe.unet.state_dict()
    assert all(torch.equal(after[key], value) for key, value in expected.items())


def test_weights_of_another_network_are_refused_and_nothing_changes() -> None:
    pipe = build()
    before = pipe.unet.state_dict()
    kept = {k: v.clone() for k, v in before.items()}
    with pipe.strategies.using(Precision()):
        with pytest.raises(RuntimeError, match="Missing key"):
            pipe.unet.load_state_dict({})
        assert pipe.strategies.active == {Precision()}
    assert all(torch.equal(v, kept[k]) for k, v in pipe.unet.state_dict().items())


@pytest.mark.parametrize("strategy", [Quantization(), StepCache(), QKVFusion()], ids=repr)
def test_a_component_gets_new_weights_while_dpnbs_network_stands_for_it(
    strategy: Strategy,
) -> None:
    pipe = pipeline("sd1")
    unet, other = pipe.unet, filled(pipe.unet, 0.01)
    strategies = dpnb.attach(pipe).strategies
    strategies.use([strategy, Precision()])
    unet.load_state_dict(other)
    strategies.use([])
    assert all(torch.equal(v, other[k]) for k, v in unet.state_dict().items())


def test_a_compiled_network_gets_new_weights() -> None:
    pipe = build()
    plain = pipe.unet
    other = filled(plain, 0.01)
    pipe.unet = torch.compile(plain, backend="eager")
    with pipe.strategies.using(Precision()):
        plain.load_state_dict(other)
    assert all(torch.equal(v, other[k]) for k, v in plain.state_dict().items())
    with pipe.strategies.using(Precision()):
        plain.load_state_dict(filled(plain, 0.02))
        pipe.unet.load_state_dict({f"_orig_mod.{k}": v for k, v in other.items()})
    assert all(torch.equal(v, other[k]) for k, v in plain.state_dict().items())


def test_a_run_that_casts_in_its_middle_takes_nothing_off() -> None:
    pipe = build()
    seen: list[tuple[torch.dtype, list[int]]] = []

    def cast(*_: Any) -> dict[str, Any]:
        pipe.vae.to(torch.float64)
        seen.append((pipe.vae.dtype, [*pipe.unet._forward_pre_hooks]))
        pipe.vae.to(torch.float32)
        return {}

    with pipe.strategies.using(OFFLOAD):
        hooks = [*pipe.unet._forward_pre_hooks]
        draw(pipe, callback_on_step_end=cast)
    assert seen == [(torch.float64, hooks)] * 2


def test_networks_go_at_once_with_the_last_that_refers_to_them() -> None:
    pipe = build()
    with pipe.strategies.using(Precision()):
        held = ref(pipe.unet), ref(pipe.text_encoder)
    del pipe
    assert [found() for found in held] == [None, None]
