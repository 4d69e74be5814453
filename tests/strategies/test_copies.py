"""A copy has what is switched on, and shares nothing else with the original."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpnb.errors import StrategyError
from dpnb.nn.quantized import plain_tensors
from dpnb.strategies.attention import XFormers
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.guidance_interval import GuidanceInterval
from dpnb.strategies.lora import LoRA
from dpnb.strategies.perturbed_attention import PerturbedAttention
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.precision import Precision
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.token_merging import TokenMerging
from tests.strategies.pipes import LINK, ONE_EACH, build, draw, networks, traces, values

pytestmark = pytest.mark.exhaustive


def pickled(item: Any) -> Any:
    return pickle.loads(pickle.dumps(item))


def saved(item: Any) -> Any:
    file = io.BytesIO()
    torch.save(item, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS: list[Callable[[Any], Any]] = [copy.deepcopy, pickled, saved]

PLANS: list[tuple[Strategy, ...]] = [
    (),
    (FreeU(), SequentialOffload(device=LINK), LoRA()),
    (QKVFusion(), LayerwiseCasting(), ModelOffload(LINK)),
]


@pytest.fixture(scope="module")
def original() -> Any:
    return build("tiny-sd")


@pytest.fixture
def pipe(original: Any) -> Iterator[Any]:
    yield original
    original.strategies.use([])


def memory(item: nn.Module) -> set[int]:
    """Where its weights are."""
    return {
        tensor.untyped_storage().data_ptr()
        for held in item.state_dict().values()
        for tensor in plain_tensors(held)
    }


def check_independent(one: Any, other: Any, picture: Tensor) -> None:
    """What is switched or changed at one of two alike pipelines, the other does not see."""
    plan = one.strategies.active
    assert other.strategies.active == plan
    assert torch.equal(draw(other), picture)
    one.strategies.use([])
    assert other.strategies.active == plan
    assert torch.equal(draw(other), picture)
    assert not any(
        memory(networks(one)[name]) & memory(networks(other)[name]) for name in ("unet",)
    )
    with torch.no_grad():
        for weight in one.unet.parameters():
            weight.zero_()
    assert torch.equal(draw(other), picture)


@pytest.mark.parametrize("strategy", [s for s in ONE_EACH if s != XFormers()], ids=repr)
def test_a_deep_copy_is_independent(pipe: Any, strategy: Strategy) -> None:
    plain, first = draw(pipe), traces(pipe)
    pipe.strategies.use([strategy])
    picture = draw(pipe)
    twin = copy.deepcopy(pipe)
    twin.strategies.use([])
    assert torch.equal(draw(twin), plain)
    assert torch.equal(draw(pipe), picture)
    twin.strategies.use([strategy])
    check_independent(twin, pipe, picture)
    pipe.strategies.use([])
    assert traces(pipe) == first


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-sdxl", "tiny-flux", "sag"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_copy_of_any_kind_is_independent(name: str, way: Callable[[Any], Any]) -> None:
    pipe = build(name)
    plan = [QKVFusion(), SequentialOffload(device=LINK)]
    pipe.strategies.use(plan)
    picture = draw(pipe)
    other = way(pipe)
    assert type(other) is type(pipe)
    assert other.strategies.active == frozenset(plan)
    assert torch.equal(draw(other), picture)
    other.strategies.use([])
    assert pipe.strategies.active == frozenset(plan)
    with torch.no_grad():
        for weight in (w for part in networks(other).values() for w in part.parameters()):
            weight.zero_()
    assert torch.equal(draw(pipe), picture)


@pytest.mark.parametrize("plan", PLANS, ids=repr)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_copy_of_a_network_is_plain_and_independent(
    pipe: Any, way: Callable[[Any], Any], plan: tuple[Strategy, ...]
) -> None:
    weights, first = pipe.unet.state_dict(), draw(pipe)
    weights = {key: value.clone() for key, value in weights.items()}
    pipe.strategies.use(plan)
    picture = draw(pipe)
    other = way(pipe.unet)
    now = other.state_dict()
    assert list(now) == list(weights)
    assert all(torch.equal(now[key], weights[key]) for key in weights)
    other.enable_freeu(0.5, 0.5, 1.5, 1.5)
    other.disable_freeu()
    assert pipe.strategies.active == frozenset(plan)
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    assert torch.equal(draw(pipe), picture)
    pipe.strategies.use([])
    assert torch.equal(draw(pipe), first)


def test_a_network_of_another_library_is_refused_while_something_is_on(pipe: Any) -> None:
    pipe.strategies.use([SequentialOffload(device=LINK)])
    for way in WAYS:
        with pytest.raises(StrategyError, match="cannot be copied by itself while"):
            way(pipe.text_encoder)
    with pipe.strategies.suspended():
        other = copy.deepcopy(pipe.text_encoder)
    assert not memory(other) & memory(pipe.text_encoder)
    assert torch.equal(draw(pipe), draw(copy.deepcopy(pipe)))


@pytest.mark.parametrize("strategy", [TokenMerging(), Precision(), StepCache()], ids=repr)
def test_a_layer_is_refused_while_something_acts_on_it(pipe: Any, strategy: Strategy) -> None:
    pipe.strategies.use([strategy])
    acted_on = [m for m in pipe.unet.modules() if "forward" in vars(m) and m is not pipe.unet]
    for module in acted_on:
        for way in WAYS:
            with pytest.raises(StrategyError, match="copy the whole pipeline"):
                way(module)
    assert acted_on or not isinstance(strategy, TokenMerging)


def test_a_network_that_only_shares_a_pipeline_with_what_is_on_is_refused_too(pipe: Any) -> None:
    pipe.strategies.use([FreeU()])
    with pytest.raises(StrategyError, match=r"while FreeU\(\) is on; copy the whole pipeline"):
        copy.deepcopy(pipe.text_encoder)


def test_a_shallow_copy_shares_networks_and_what_is_on(pipe: Any) -> None:
    pipe.strategies.use([FreeU()])
    other = copy.copy(pipe)
    assert other.unet is pipe.unet
    assert other.strategies.active == pipe.strategies.active == {FreeU()}
    other.strategies.use([])
    assert pipe.strategies.active == frozenset()
    unet, other.unet = pipe.unet, copy.deepcopy(pipe.unet)
    assert pipe.unet is unet


@pytest.mark.parametrize("strategy", [PerturbedAttention(), GuidanceInterval()], ids=repr)
def test_a_shallow_copy_is_steered_only_while_that_is_on(pipe: Any, strategy: Strategy) -> None:
    plain = draw(pipe)
    pipe.strategies.use([strategy])
    steered, other = draw(pipe), copy.copy(pipe)
    assert torch.equal(draw(other), steered)
    pipe.strategies.use([])
    assert vars(other).keys() == vars(pipe).keys()
    assert torch.equal(draw(other), plain)
    other.strategies.use([strategy])
    assert torch.equal(draw(pipe), steered)


def test_a_shallow_copy_of_a_network_has_switches_of_its_own(pipe: Any) -> None:
    other = copy.copy(pipe.unet)
    assert other.conv_in is pipe.unet.conv_in
    assert other._switchboard.stack is not pipe.strategies


def test_a_copy_keeps_its_adapters(pipe: Any) -> None:
    other = copy.deepcopy(pipe)
    assert other.get_list_adapters() == pipe.get_list_adapters() != {}
    other.unload_lora_weights()
    assert pipe.get_list_adapters() != {}


def test_listeners_stay_with_the_original(pipe: Any) -> None:
    heard: list[Any] = []
    stop = pipe.strategies.subscribe(heard.append)
    other = copy.deepcopy(pipe)
    other.strategies.use([FreeU()])
    stop()
    assert heard == []
    assert other.listeners == []


def test_a_scheduler_and_what_it_remembers_are_copied(pipe: Any) -> None:
    stream = pipe.stream("a red fox", num_inference_steps=3)
    next(stream)
    next(stream)
    other = copy.deepcopy(pipe)
    *_, last = stream
    assert last.output is not None
    assert other.scheduler is not pipe.scheduler
    assert torch.equal(draw(other), draw(pipe))


def drawn(pipe: Any) -> Any:
    picture = draw(pipe)
    pipe.strategies.use([])
    with torch.no_grad():
        pipe.unet.conv_in.weight.data = torch.zeros_like(pipe.unet.conv_in.weight)
    return picture.numpy()


@pytest.mark.slow
def test_another_process_draws_the_same(pipe: Any) -> None:
    pipe.strategies.use([FreeU(), SequentialOffload(device=LINK)])
    picture, known = draw(pipe), values(pipe)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert torch.equal(torch.from_numpy(pool.submit(drawn, pipe).result(120)), picture)
    assert torch.equal(draw(pipe), picture)
    pipe.strategies.use([])
    now = values(pipe)
    assert pipe.strategies.active == frozenset()
    assert list(now) == list(known)


def test_what_cannot_be_on_where_it_is_unpickled_is_said(
    pipe: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe.strategies.use([ModelOffload(LINK)])
    data = pickle.dumps(pipe)
    refuse = "Offloading is refused here."
    monkeypatch.setattr(ModelOffload, "obstacle", lambda *_: refuse)
    other = pickle.loads(data)
    assert other.strategies.active == frozenset()
    assert refuse in caplog.text
