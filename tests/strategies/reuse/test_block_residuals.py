"""Networks of lists of blocks, in whatever way their tokens go through them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpnb.run_listener import RunKey
from dpnb.strategies.reuse.block_residuals import (
    Residuals,
    find_block_lists,
    reuse_block_residuals,
)
from dpnb.strategies.reuse.block_ties import BlockArguments, Ties, ties_by_size, ties_by_use
from dpnb.strategies.reuse.branches import Branches, ReuseSpan
from dpnb.strategies.reuse.reuse_count import ReuseCount
from dpnb.strategies.undo import Undo

WIDTH = 4


class Double(nn.Module):
    """Returns what it makes of the prompt first, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.text = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor
    ) -> tuple[Tensor, Tensor]:
        moved = self.picture(hidden_states) + encoder_hidden_states.mean(1, keepdim=True)
        return self.text(encoder_hidden_states) * temb, hidden_states + moved * temb


class Single(nn.Module):
    """Overwrites its tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden_states: Tensor, temb: Tensor) -> Tensor:
        return hidden_states.add_(self.linear(hidden_states) * temb)


class Network(nn.Module):
    """Two kinds of blocks, whose tokens are joined in between."""

    def __init__(self, doubles: int, singles: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.transformer_blocks = nn.ModuleList(Double() for _ in range(doubles))
        self.single_transformer_blocks = nn.ModuleList(Single() for _ in range(singles))
        self.extra: Tensor | None = None
        self.computed = 0
        for block in (*self.transformer_blocks, *self.single_transformer_blocks):
            block.register_forward_hook(self._count)

    def _count(self, *_: object) -> None:
        self.computed += 1

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor, timestep: float
    ) -> Tensor:
        x, text, temb = hidden_states, encoder_hidden_states, torch.tensor(1 + timestep)
        for double in self.transformer_blocks:
            text, x = double(x, encoder_hidden_states=text, temb=temb)
            if self.extra is not None:
                x = x + self.extra
        joined = torch.cat((text, x), dim=1)
        for single in self.single_transformer_blocks:
            joined = single(joined, temb)
        return joined[:, text.shape[1] :]


def run(network: Network, tokens: int = 6, texts: int = 3, steps: int = 4) -> list[Tensor]:
    """What each step says while all but the first reuse what they can."""
    branches: Branches[Residuals] = Branches(network, ReuseSpan(1, 0), ReuseCount())
    undo = Undo()
    reuse_block_residuals(network, branches, 1e9, undo)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, tokens, WIDTH, generator=generator)
    text = torch.randn(1, texts, WIDTH, generator=generator)
    found = []
    branches.begin_run(RunKey())
    with torch.no_grad():
        for index in range(steps):
            branches.before_step(RunKey(), index, steps)
            found.append(network(x * (1 + 0.1 * index), text, 0.1 * index))
    undo.close()
    assert all("_call_impl" not in vars(module) for module in network.modules())
    return found


@pytest.mark.parametrize(("doubles", "singles"), [(2, 2), (1, 2), (3, 0), (1, 1)])
def test_what_all_blocks_but_the_first_add_is_added_again(doubles: int, singles: int) -> None:
    network = Network(doubles, singles)
    first, second, *_ = run(network)
    assert network.computed == doubles + singles + 3
    inputs = torch.Generator().manual_seed(0)
    x = torch.randn(1, 6, WIDTH, generator=inputs)
    text = torch.randn(1, 3, WIDTH, generator=inputs)

    @torch.no_grad()
    def head(index: int) -> Tensor:
        temb = torch.tensor(1 + 0.1 * index)
        out: Tensor = network.transformer_blocks[0](x * (1 + 0.1 * index), text, temb)[1]
        return out

    torch.testing.assert_close(second - head(1), first - head(0), rtol=0, atol=1e-5)


def test_sizes_that_say_nothing_are_found_by_use() -> None:
    """As many tokens of text as of the picture: one step more is computed."""
    network = Network(2, 2)
    run(network, tokens=4, texts=4)
    assert network.computed == 4 + 4 + 2


def test_a_network_that_adds_something_between_its_blocks_computes_all() -> None:
    network = Network(3, 2)
    network.extra = torch.ones(1, 6, WIDTH)
    plain = run(network, steps=3)
    assert network.computed == 5 * 3
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, 6, WIDTH, generator=generator)
        text = torch.randn(1, 3, WIDTH, generator=generator)
        assert torch.equal(network(x * 1.2, text, 0.2), plain[2])


def test_one_block_is_never_left_out() -> None:
    network = Network(1, 0)
    run(network)
    assert network.computed == 4


def test_lists_are_found_by_their_names_and_their_blocks() -> None:
    network = Network(2, 1)
    assert [len(blocks) for blocks in find_block_lists(network)] == [2, 1]
    network.layers = nn.ModuleList([Single(), Double()])
    network.blocks = nn.ModuleList([nn.Linear(1, 1)])
    assert [len(blocks) for blocks in find_block_lists(network)] == [2, 1]


A, B, C = torch.zeros(1, 2, 3), torch.zeros(1, 5, 3), torch.zeros(1, 2, 3)


@pytest.mark.parametrize(
    ("given", "output", "names"),
    [
        ({"hidden_states": A}, C, ("hidden_states",)),
        ({"hidden_states": A, "encoder_hidden_states": C}, C, ("hidden_states",)),
        ({"hidden_states": A, "encoder_hidden_states": B}, (B, C), None),
        ({"hidden_states": A, "encoder_hidden_states": B}, (None, C), (None, "hidden_states")),
        ({"hidden_states": A, "encoder_hidden_states": C}, (A, C), ()),
        ({"hidden_states": B}, C, ()),
        ({"hidden_states": A}, {"sample": A}, ()),
    ],
)
def test_sizes_tie_outputs_to_arguments(
    given: dict[str, Tensor], output: Any, names: tuple[str | None, ...] | None
) -> None:
    expected = ("encoder_hidden_states", "hidden_states") if names is None else names
    found = ties_by_size(given, output)
    assert (found.names if found else ()) == expected


def test_the_next_block_ties_what_it_is_given_itself() -> None:
    one, other = torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)
    found = ties_by_use({"hidden_states": other, "encoder_hidden_states": one}, (one, other))
    assert found == Ties(("encoder_hidden_states", "hidden_states"), is_alone=False)
    assert ties_by_use({"hidden_states": other.clone()}, other) is None


def test_arguments_are_known_by_place_and_by_name() -> None:
    arguments = BlockArguments(Double)
    assert arguments.has_flows
    assert arguments.flows_of((A,), {"encoder_hidden_states": B, "temb": C}) == {
        "hidden_states": A,
        "encoder_hidden_states": B,
    }
    assert not BlockArguments(nn.Linear).has_flows


class Collecting(nn.Module):
    """Answers with what all its blocks together have made of the tokens."""

    def __init__(self, kept: int | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Plain() for _ in range(4))
        self.kept = kept

    def forward(self, hidden_states: Tensor, timestep: float) -> Tensor:
        states = []
        for place, block in enumerate(self.blocks):
            hidden_states = block(hidden_states)
            if place == self.kept:
                states.append(hidden_states)
        return hidden_states + sum(states)


class Plain(nn.Linear):
    """One matrix, and a sum."""

    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states + super().forward(hidden_states)


@pytest.mark.parametrize(("kept", "reuses"), [(None, True), (0, True), (1, False), (3, True)])
def test_states_between_blocks_that_somebody_collects_are_computed(
    kept: int | None, reuses: bool
) -> None:
    network, undo, count = Collecting(kept), Undo(), ReuseCount()
    tokens = torch.randn(1, 3, WIDTH)
    with torch.no_grad():
        plain = network(tokens, 1.0)
        branches: Branches[Residuals] = Branches(network, ReuseSpan(1, 0), count)
        reuse_block_residuals(network, branches, 0.1, undo)
        branches.begin_run(RunKey())
        calls = list[int]()
        heard = network.blocks[2].register_forward_hook(lambda *_: calls.append(1))
        for index in range(3):
            branches.before_step(RunKey(), index, 3)
            torch.testing.assert_close(network(tokens, 1.0), plain)
        heard.remove()
    assert len(calls) == (1 if reuses else 3)
    undo.close()
