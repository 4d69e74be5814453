from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor, nn

from dpnb import ModelOffload, SequentialOffload
from dpnb.strategies.offload.simulated_link import SimulatedLink
from dpnb.strategies.stack import StrategyStack, stack_of
from dpnb.strategies.strategy import StrategyError
from tests.strategies.pictures import QUICK

WIDTH = 128
BLOCK = WIDTH * WIDTH * 4
"""Bytes of a block's matrix: just large enough to stream."""

FORTH = tuple(range(6))
BACK = FORTH[::-1]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.inner: Callable[[Tensor], Tensor] = torch.tanh

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.linear(x))


class Blocks(nn.Module):
    """Six blocks, called in any order."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block() for _ in range(6))

    def forward(self, x: Tensor, order: Sequence[int] = FORTH) -> Tensor:
        for index in order:
            x = self.blocks[index](x)
        return x

    def reverse(self, x: Tensor) -> Tensor:
        for index in BACK:
            x = self.blocks[index](x)
        return x


X = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> Blocks:
    return Blocks()


@pytest.fixture
def stack(network: Blocks) -> Iterator[StrategyStack]:
    stack = stack_of(network, "unet")
    stack.enable(SequentialOffload(device=QUICK))
    yield stack
    stack.use([])


def link_of(stack: StrategyStack) -> SimulatedLink:
    link = stack.networks.link
    assert isinstance(link, SimulatedLink)
    return link


def copied(stack: StrategyStack) -> list[str]:
    """The names of the blocks that have come in since this was asked last."""
    link = link_of(stack)
    log = [transfer.what for transfer in link.log if transfer.nbytes >= BLOCK]
    link.log.clear()
    return [what.rpartition(".")[2] for what in log]


def steps(stack: StrategyStack, *calls: Callable[[], Tensor]) -> list[Tensor]:
    """A run of one step for each call."""
    with stack.begin_run(), torch.no_grad():
        outputs = []
        for index, call in enumerate(calls):
            stack.before_step(index, len(calls))
            outputs.append(call())
        return outputs


def requested_when_entered(stack: StrategyStack, network: Blocks) -> list[int]:
    """Filled with how many blocks have been asked for as each block computes."""
    seen: list[int] = []
    for block in network.blocks:
        assert isinstance(block, Block)
        inner = block.inner

        def look(x: Tensor, inner: Callable[[Tensor], Tensor] = inner) -> Tensor:
            seen.append(link_of(stack).moved // BLOCK)
            return inner(x)

        block.inner = look
    return seen


def test_two_blocks_and_the_small_tensors_are_all_that_is_held(
    network: Blocks, stack: StrategyStack
) -> None:
    with torch.no_grad():
        expected = Blocks()(X)
        assert torch.equal(network(X), expected)
    small = 6 * WIDTH * 4
    assert link_of(stack).peak == 2 * BLOCK + small
    assert link_of(stack).held == 0
    assert link_of(stack).pinned == 6 * BLOCK + small


def test_the_next_block_comes_in_while_one_computes_once_the_order_is_known(
    network: Blocks, stack: StrategyStack
) -> None:
    seen = requested_when_entered(stack, network)
    steps(stack, *[lambda: network(X)] * 3)
    first, second, third = seen[:6], seen[6:12], seen[12:]
    assert first == [1, 2, 3, 4, 5, 6]
    assert second == [8, 9, 10, 11, 12, 13]
    assert third == [14, 15, 16, 17, 18, 18]
    assert copied(stack) == list("012345") * 3


def test_a_step_ahead_of_the_last_brings_in_the_first_block_again(
    network: Blocks, stack: StrategyStack
) -> None:
    with stack.begin_run(), torch.no_grad():
        stack.before_step(0, 2)
        network(X)
        copied(stack)
        assert link_of(stack).moved // BLOCK == 8
        stack.before_step(1, 2)
        network(X)
        assert link_of(stack).moved // BLOCK == 12


def test_a_new_order_is_learnt(network: Blocks, stack: StrategyStack) -> None:
    orders = [FORTH, FORTH, BACK, BACK, BACK]
    outputs = steps(stack, *[lambda order=order: network(X, order) for order in orders])
    with torch.no_grad():
        plain = Blocks()
        assert all(torch.equal(out, plain(X, o)) for out, o in zip(outputs, orders, strict=True))
    log = copied(stack)
    assert log[-12:] == list("543210") * 2


@pytest.mark.parametrize(
    "orders",
    [
        [(0, 0, 1, 1, 2), (0, 0, 1, 1, 2), (0, 1, 2)],
        [(0, 1, 0, 1), (0, 1, 0, 1), (1, 0)],
        [(0, 1, 2, 3, 4, 5), (0, 2, 4), (1, 3, 5), (5,)],
        [(3,), (3,), (3, 4), (0, 5, 0, 5, 0)],
    ],
)
def test_any_order_computes_the_same(
    orders: list[tuple[int, ...]], network: Blocks, stack: StrategyStack
) -> None:
    outputs = steps(stack, *[lambda order=order: network(X, order) for order in orders * 2])
    with torch.no_grad():
        plain = Blocks()
        expected = [plain(X, order) for order in orders * 2]
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))
    assert link_of(stack).held == 0


def test_every_method_has_an_order_of_its_own(network: Blocks, stack: StrategyStack) -> None:
    calls = [lambda: network(X), lambda: network.reverse(X)] * 2
    with torch.no_grad():
        plain = Blocks()
        expected = [plain(X), plain.reverse(X)] * 2
    outputs = steps(stack, *calls)
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))


def calling(other: nn.Module) -> Callable[[Tensor], Tensor]:
    """A call of `other`, which is not a child of whoever makes it."""

    def call(x: Tensor) -> Tensor:
        out: Tensor = other(x)
        return out.sin()

    return call


def test_a_block_may_call_another_while_it_computes(network: Blocks, stack: StrategyStack) -> None:
    plain = Blocks()
    for one in (network, plain):
        for index in (0, 1, 3):
            block, other = one.blocks[index], one.blocks[index + 1]
            assert isinstance(block, Block)
            block.inner = calling(other)
    with torch.no_grad():
        expected = plain(X)
    assert all(torch.equal(out, expected) for out in steps(stack, *[lambda: network(X)] * 3))
    assert link_of(stack).held == 0


def test_a_part_of_the_network_may_be_called_by_itself(
    network: Blocks, stack: StrategyStack
) -> None:
    with torch.no_grad():
        expected = Blocks().blocks[3](X)
        assert torch.equal(network.blocks[3](X), expected)
        assert link_of(stack).held == 0
        assert network.blocks[3](X).equal(steps(stack, lambda: network.blocks[3](X))[0])
    assert copied(stack) == ["3", "3", "3"]


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["before", "inside", "after"])
@pytest.mark.parametrize("in_a_run", [True, False])
def test_an_error_in_the_middle_leaves_nothing_on_the_device(
    error: type[BaseException], place: str, in_a_run: bool, network: Blocks, stack: StrategyStack
) -> None:
    block = network.blocks[2]
    assert isinstance(block, Block)

    def fail(*_: object) -> Tensor:
        raise error

    handles = []
    if place == "before":
        handles.append(block.register_forward_pre_hook(fail))
    elif place == "after":
        handles.append(block.register_forward_hook(fail))
    else:
        block.inner = fail
    calls = [lambda: network(X)] * 2
    with torch.no_grad(), pytest.raises(error):
        steps(stack, *calls) if in_a_run else calls[0]()
    assert link_of(stack).held == 0
    for handle in handles:
        handle.remove()
    block.inner = torch.tanh
    with torch.no_grad():
        expected = Blocks()(X)
    assert all(torch.equal(out, expected) for out in steps(stack, *[lambda: network(X)] * 2))


def test_a_run_that_goes_on_after_an_error_computes_the_same(
    network: Blocks, stack: StrategyStack
) -> None:
    block = network.blocks[4]
    assert isinstance(block, Block)
    with torch.no_grad():
        expected = Blocks()(X)

    def broken_off() -> Tensor:
        def fail(x: Tensor) -> Tensor:
            raise BrokenError

        block.inner = fail
        with pytest.raises(BrokenError):
            network(X)
        block.inner = torch.tanh
        return network(X)  # type: ignore[no-any-return]

    outputs = steps(stack, lambda: network(X), broken_off, lambda: network(X))
    assert all(torch.equal(out, expected) for out in outputs)


def scale(linear: nn.Linear) -> None:
    linear.weight.data.mul_(0.5)


def shift(linear: nn.Linear) -> None:
    linear.bias.add_(0.25)


def replace_values(linear: nn.Linear) -> None:
    linear.weight.data = torch.ones(WIDTH, WIDTH) / WIDTH
    linear.bias.data = torch.ones(WIDTH)


def replace_parameter(linear: nn.Linear) -> None:
    linear.weight = nn.Parameter(torch.eye(WIDTH))


def load(linear: nn.Linear) -> None:
    linear.load_state_dict(nn.Linear(WIDTH, WIDTH).state_dict())


def load_by_assigning(linear: nn.Linear) -> None:
    state = {name: value + 1 for name, value in linear.state_dict().items()}
    linear.load_state_dict(state, assign=True)


CHANGES = (scale, shift, replace_values, replace_parameter, load, load_by_assigning)


@pytest.mark.parametrize("kind", [SequentialOffload, ModelOffload])
def test_changes_by_hand_count(
    kind: type[SequentialOffload] | type[ModelOffload], network: Blocks, stack: StrategyStack
) -> None:
    stack.enable(kind(device=QUICK))
    block, small = network.blocks[2], network.blocks[3]
    assert isinstance(block, Block)
    assert isinstance(small, Block)
    steps(stack, *[lambda: network(X)] * 2)
    with torch.no_grad():
        network(X)
    plain = Blocks()
    for change in CHANGES:
        torch.manual_seed(1)
        with torch.no_grad():
            change(block.linear)
        linear = plain.blocks[2].get_submodule("linear")
        assert isinstance(linear, nn.Linear)
        torch.manual_seed(1)
        with torch.no_grad():
            change(linear)
            expected = plain(X)
            assert torch.equal(network(X), expected)
        assert all(torch.equal(out, expected) for out in steps(stack, *[lambda: network(X)] * 2))
        assert torch.equal(block.linear.weight, linear.weight)
    stack.use([])
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), plain.parameters()))  # noqa: B905
    with torch.no_grad():
        assert torch.equal(network(X), plain(X))


def test_a_budget_keeps_blocks_for_a_run(network: Blocks, stack: StrategyStack) -> None:
    small = 6 * WIDTH * 4
    stack.enable(SequentialOffload(small + 5 * BLOCK, QUICK))
    with torch.no_grad():
        expected = Blocks()(X)
    assert all(torch.equal(out, expected) for out in steps(stack, *[lambda: network(X)] * 3))
    assert link_of(stack).peak == small + 5 * BLOCK
    log = copied(stack)
    assert [name for name in FORTH_NAMES if log.count(name) == 1] == ["1", "4"]
    assert len(log) == 6 + 4 + 4


FORTH_NAMES = [str(index) for index in FORTH]


def test_a_budget_for_everything_moves_everything_once(
    network: Blocks, stack: StrategyStack
) -> None:
    stack.enable(SequentialOffload("1GiB", QUICK))
    steps(stack, *[lambda: network(X)] * 3)
    assert sorted(copied(stack)) == FORTH_NAMES


def test_a_budget_that_is_too_small_is_refused_with_the_least_that_works(
    network: Blocks, stack: StrategyStack
) -> None:
    least = 2 * BLOCK + 6 * WIDTH * 4
    with pytest.raises(StrategyError, match=f"the least that works here is {least} bytes"):
        stack.enable(SequentialOffload(least - 1, QUICK))
    assert stack.find(SequentialOffload) == SequentialOffload(device=QUICK)
    stack.enable(SequentialOffload(least, QUICK))


def test_gradients_are_refused_by_name(network: Blocks, stack: StrategyStack) -> None:
    out = network(X)
    assert torch.equal(out, Blocks()(X))
    with pytest.raises(StrategyError, match="No gradient passes through weights"):
        out.sum().backward()


@pytest.mark.parametrize("kind", [SequentialOffload, ModelOffload])
def test_inference_mode_computes_the_same(
    kind: type[SequentialOffload] | type[ModelOffload], network: Blocks, stack: StrategyStack
) -> None:
    with torch.inference_mode():
        stack.enable(kind(device=QUICK))
        expected = Blocks()(X)
        assert torch.equal(network(X), expected)
        assert all(torch.equal(out, expected) for out in steps(stack, *[lambda: network(X)] * 3))
        network.blocks[0].get_parameter("linear.weight").data.mul_(1.0)
    with torch.no_grad():
        assert torch.equal(network(X), expected)
    with torch.inference_mode():
        stack.use([])
    with torch.no_grad():
        assert torch.equal(network(X), expected)
    assert not any(parameter.is_inference() for parameter in network.parameters())


def test_tied_weights_stay_on_the_device_and_stay_tied(network: Blocks) -> None:
    network.blocks[4].get_submodule("linear").weight = network.blocks[1].get_parameter(
        "linear.weight"
    )
    with torch.no_grad():
        expected = network(X)
    stack = stack_of(network, "unet")
    stack.enable(SequentialOffload(device=QUICK))
    assert all(torch.equal(out, expected) for out in steps(stack, *[lambda: network(X)] * 3))
    assert copied(stack).count("4") == 0
    stack.use([])
    one, other = (network.blocks[i].get_parameter("linear.weight") for i in (1, 4))
    assert one is other


def test_weights_of_several_dtypes_travel_together() -> None:
    network, plain = Blocks(), Blocks()
    for one in (network, plain):
        for index in (1, 4):
            one.blocks[index].to(torch.bfloat16)
            one.blocks[index].register_forward_pre_hook(lambda _, args: (args[0].bfloat16(),))
            one.blocks[index].register_forward_hook(lambda _, __, out: out.float())
    stack = stack_of(network, "unet")
    stack.enable(SequentialOffload(device=QUICK))
    with torch.no_grad():
        expected = plain(X)
    assert all(torch.equal(out, expected) for out in steps(stack, *[lambda: network(X)] * 3))
    stack.use([])
    assert {p.dtype for p in network.parameters()} == {torch.float32, torch.bfloat16}


@pytest.mark.gpu
def test_a_cuda_device_computes_the_same_in_less_memory() -> None:
    network, plain = Blocks(), Blocks().cuda()
    stack = stack_of(network, "unet")
    stack.enable(SequentialOffload(device="cuda"))
    x = X.cuda()
    with torch.no_grad():
        expected = plain(x)
    assert all(torch.equal(out, expected) for out in steps(stack, *[lambda: network(x)] * 5))
    link = stack.networks.link
    assert link is not None
    assert link.peak == 2 * BLOCK + 6 * WIDTH * 4
    assert link.pinned == 6 * BLOCK + 6 * WIDTH * 4
    stack.use([])
    assert {p.device.type for p in network.parameters()} == {"cpu"}
