"""Whatever a call changes about a network comes back, whenever the call ends."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dpnb.strategies.reversible_calls import call_reversibly
from dpnb.strategies.undo import Undo
from tests.pipelines.attached.foreign import everything_of
from tests.strategies.interrupts import Injection, lines_of


class Processor:
    """Computes attention, in a way."""

    def __init__(self) -> None:
        self.is_fused = False


class Other(nn.Linear):
    """A class that a layer may take on."""


def make() -> nn.Module:
    """A small network with hooks, a buffer and a processor."""
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    network[0].register_forward_hook(print)
    vars(network[2])["processor"] = Processor()
    return network.eval()


def everything_in(network: nn.Module) -> dict[str, Any]:
    """The attributes, hooks and classes of all modules, and those of the processor."""
    found = everything_of(SimpleNamespace(components={"part": network}))
    del found[".components"]
    found[""] = {
        name: dict(vars(vars(m)["processor"])) for name, m in network.named_modules() if name == "2"
    }
    return found


def change(network: Any) -> None:
    """Change everything that may be changed."""
    network.train()
    network.size = 3
    first, norm, last = network
    first._forward_hooks.clear()
    first.register_parameter("extra", nn.Parameter(torch.zeros(1)))
    first.weight = nn.Parameter(torch.zeros(2, 2))
    del norm._buffers["running_mean"]
    norm.running_mean = 3
    last.processor.is_fused = True
    last.processor = Processor()
    last.__class__ = Other
    del network._modules["0"]
    network.joined = nn.Linear(2, 2)
    del first.in_features


def test_everything_comes_back() -> None:
    network = make()
    before = everything_in(network)
    undo = Undo()
    call_reversibly(network, lambda: change(network), undo)
    assert everything_in(network) != before
    undo.close()
    assert everything_in(network) == before
    assert list(network._modules) == ["0", "1", "2"]


def test_everything_comes_back_from_the_middle_of_a_call() -> None:
    network = make()
    before = everything_in(network)

    def fail() -> None:
        change(network)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Undo() as undo:
        call_reversibly(network, fail, undo)
    assert everything_in(network) == before


def test_what_others_change_later_stays() -> None:
    network = make()
    before = everything_in(network)
    undo, norm = Undo(), network.get_submodule("1")
    norm = network.get_submodule("1")
    removed = norm.register_forward_hook(print)
    call_reversibly(network, lambda: change(network), undo)
    removed.remove()
    hook = norm.register_forward_pre_hook(print)
    network.note = "later"  # type: ignore[assignment]
    undo.close()
    assert vars(network).pop("note") == "later"
    assert list(norm._forward_pre_hooks.values()) == [print]
    hook.remove()
    assert everything_in(network) == before


def test_an_interrupt_at_any_line_leaves_nothing() -> None:
    def switch(network: nn.Module, undo: Undo) -> None:
        call_reversibly(network, lambda: change(network), undo)
        undo.close()

    lines = lines_of(lambda: switch(make(), Undo()))
    hits = 0
    for line, times in lines.items():
        for time in {1, times}:
            network, undo = make(), Undo()
            before = everything_in(network)
            with suppress(KeyboardInterrupt), Injection((line, time)) as injection:
                switch(network, undo)
            undo.close()
            assert everything_in(network) == before
            hits += injection.has_hit
    assert hits >= len(lines)
