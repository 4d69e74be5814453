from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from threading import get_ident
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpnb.metering.tensors import TensorMeter
from dpnb.nn.compiled import (
    OutsideGraphs,
    call_uncompiled,
    compute_uncompiled,
    forget_graphs,
    is_compiled,
    plain_network,
)


def test_the_network_within_is_found() -> None:
    network = nn.Linear(2, 2)
    compiled: Any = torch.compile(network, backend="eager")
    assert plain_network(compiled) is network
    assert plain_network(network) is network


def test_a_network_says_that_it_is_compiled() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    assert not is_compiled(network)
    whole: Any = torch.compile(network, backend="eager")
    assert is_compiled(whole)
    network[0].compile(backend="eager")
    assert is_compiled(network)


def count_graphs(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
    GRAPHS.append(graph)
    return graph.forward


GRAPHS: list[torch.fx.GraphModule] = []


class Doubling(nn.Module):
    """Code of one's own: torch compiles none of its own layers by themselves."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.mark.parametrize("is_method", [False, True])
def test_what_was_compiled_is_compiled_anew(is_method: bool) -> None:
    torch.compiler.reset()
    network: Any = Doubling()
    if is_method:
        network.forward = torch.compile(network.forward, backend=count_graphs)
    else:
        network.compile(backend=count_graphs)
    GRAPHS.clear()
    for _ in range(2):
        network(torch.ones(2))
    assert len(GRAPHS) == 1
    forget_graphs([nn.Linear(2, 2)])
    network(torch.ones(2))
    assert len(GRAPHS) == 1
    forget_graphs([network])
    network(torch.ones(2))
    assert len(GRAPHS) == 2


def test_calls_and_contexts_stay_out_of_graphs() -> None:
    seen = []

    @contextmanager
    def note() -> Iterator[None]:
        seen.append(get_ident())
        yield
        seen.append(get_ident())

    def compute(x: Tensor) -> Tensor:
        call_uncompiled(seen.append, (0,), {})
        with OutsideGraphs(note()):
            return x + 1

    GRAPHS.clear()
    compiled: Any = torch.compile(compute, backend=count_graphs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 2.0))
    assert seen == [0, get_ident(), get_ident()]


def test_an_error_passes_through_a_context() -> None:
    with pytest.raises(ValueError, match="on purpose"), OutsideGraphs(nullcontext()):
        raise ValueError("on purpose")
    with OutsideGraphs(suppress(ValueError)):
        raise ValueError


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_what_is_seen_uncompiled_may_be_compiled_afterwards() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    given = torch.randn(3, 1, 2, 16, 8, generator=torch.Generator().manual_seed(0))

    def attend() -> Tensor:
        made: Any = flex_attention(*given)
        found: Tensor = made
        return found

    plain = attend()
    with compute_uncompiled(), TensorMeter():
        torch.testing.assert_close(attend(), plain)
    assert torch.equal(attend(), plain)
