"""Strategies on networks that torch compiles, whichever of both came first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
import torch
from torch import nn

from dpnb.nn.compiled import REASON
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.offload import streamed_network
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from tests.strategies.foreign_owner import LINK, PartsStack, clip
from tests.strategies.late_device import LateDevice

PLACEMENTS: list[Strategy] = [
    ModelOffload(LINK),
    SequentialOffload(device=LINK),
    DeviceMap("disk"),
]
WORDS = torch.arange(5)[None]


@pytest.fixture(autouse=True)
def fresh_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(streamed_network, "SMALL_TENSOR", 256)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compile_whole(network: nn.Module) -> Any:
    return torch.compile(network, backend="eager")


def compile_in_place(network: nn.Module) -> Any:
    network.compile(backend="eager")
    return network


def compile_as_one_graph(network: nn.Module) -> Any:
    network.compile(backend="eager", fullgraph=True)
    return network


def compile_blocks(network: nn.Module) -> Any:
    for name, module in network.named_modules():
        if name.rpartition(".")[2].isdigit():
            module.compile(backend="eager")
    return network


def compile_each_as_one_graph(network: nn.Module) -> Any:
    """As diffusers' `compile_repeated_blocks(fullgraph=True)` does."""
    for name, module in network.named_modules():
        if name.rpartition(".")[2].isdigit():
            module.compile(backend="eager", fullgraph=True)
    return network


COMPILERS = (compile_whole, compile_in_place, compile_blocks)


def read(network: Any) -> torch.Tensor:
    with torch.no_grad():
        words: torch.Tensor = network(WORDS).last_hidden_state
    return words


@pytest.mark.parametrize("placement", PLACEMENTS, ids=repr)
@pytest.mark.parametrize("compile_network", COMPILERS)
def test_what_is_compiled_may_be_offloaded(
    compile_network: Callable[[nn.Module], Any], placement: Strategy
) -> None:
    network = compile_network(clip())
    plain = read(network)
    stack = PartsStack(text_encoder=network)
    with stack.using(placement):
        assert torch.equal(read(network), plain)
        assert torch.equal(read(network), plain)
    assert torch.equal(read(network), plain)


@pytest.mark.parametrize("compile_network", COMPILERS)
def test_what_was_compiled_before_streams(
    compile_network: Callable[[nn.Module], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, network = LateDevice(monkeypatch), compile_network(clip())
    plain = read(network)
    stack = PartsStack(text_encoder=network)
    stack.networks.set_aside = device.set_aside
    stack.use([SequentialOffload(device=LINK)])
    with device.computing(stack.networks) as link, stack.begin_run():
        assert torch.equal(read(network), plain)
    assert link.reports == []
    assert link.copies > 2
    stack.use([])
    assert torch.equal(read(network), plain)


@pytest.mark.parametrize("placement", PLACEMENTS, ids=repr)
def test_what_is_offloaded_may_be_compiled(placement: Strategy) -> None:
    network = clip()
    plain = read(network)
    stack = PartsStack(text_encoder=network)
    with stack.using(placement):
        compile_in_place(network)
        assert torch.equal(read(network), plain)
    assert torch.equal(read(network), plain)


@pytest.mark.parametrize("placement", PLACEMENTS[:2], ids=repr)
def test_blocks_of_one_graph_each_may_be_offloaded(placement: Strategy) -> None:
    network = compile_each_as_one_graph(clip())
    plain = read(network)
    stack = PartsStack(text_encoder=network)
    with stack.using(placement):
        assert torch.equal(read(network), plain)
    assert torch.equal(read(network), plain)


@pytest.mark.parametrize(
    ("compile_network", "placement"),
    [(compile_as_one_graph, PLACEMENTS[1]), (compile_each_as_one_graph, PLACEMENTS[2])],
)
def test_one_graph_cannot_be_cut(
    compile_network: Callable[[nn.Module], Any], placement: Strategy
) -> None:
    # In a process of its own: once torch's compiler has failed, tensors live a little longer.
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        message, is_same = other.submit(cut, compile_network, placement).result()
    assert REASON in message.replace("\n", " ")
    assert is_same


def cut(compile_network: Callable[[nn.Module], Any], placement: Strategy) -> tuple[str, bool]:
    """What is said where a placement acts within a graph, and whether its end leaves no trace."""
    vars(streamed_network)["SMALL_TENSOR"] = 256
    network = compile_network(clip())
    plain = read(network)
    stack = PartsStack(text_encoder=network)
    with stack.using(placement), pytest.raises(torch._dynamo.exc.Unsupported) as caught:
        read(network)
    return str(caught.value), torch.equal(read(network), plain)


@pytest.mark.parametrize("compile_network", COMPILERS)
def test_casting_says_that_it_would_cut_a_network(
    compile_network: Callable[[nn.Module], Any],
) -> None:
    stack = PartsStack(unet=compile_network(clip()))
    assert stack.obstacle(LayerwiseCasting("bfloat16")) == (
        "unet is compiled, and LayerwiseCasting would cut it into single layers, which compile for "
        "long; leave it out, or load the pipeline without compiling it."
    )
