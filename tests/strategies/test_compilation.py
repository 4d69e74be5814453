"""Blocks that another process compiles while they compute."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from shutil import which
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

import dpnb
from dpnb.errors import StrategyError
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.attention import Attention
from dpnb.nn.compiled import compute_uncompiled
from dpnb.planning.planner import plan
from dpnb.strategies.attention_kernel import AttentionKernel
from dpnb.strategies.compilation import Compile
from dpnb.strategies.compile_order import (
    Order,
    TensorKind,
    Uncompilable,
    flatten,
    outline_module,
    unflatten,
)
from dpnb.strategies.compile_queue import CompiledCode, CompileQueue, shared_queue
from dpnb.strategies.compile_worker import Answer, Job, serve
from dpnb.strategies.compiled_blocks import CALLS_UNTIL_COMPILED as ENOUGH
from dpnb.strategies.compiled_blocks import MOST_KINDS, CompiledBlock
from dpnb.strategies.networks import Networks
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.torch_settings import TorchSettings
from dpnb.strategies.undo import Undo
from tests.strategies.foreign_owner import PartsStack, noise
from tests.strategies.pipes import build, draw, traces

pytestmark = pytest.mark.compiles

needs_compiler = pytest.mark.skipif(
    not (which("g++") or which("clang++")), reason="there is no C++ compiler here"
)


class Wide(nn.Module):
    """A block."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.factor, self.words = 1, {"every", "process", "has", "another", "order"}

    def forward(self, x: Tensor, times: int = 1) -> tuple[Tensor, None]:
        """`[..., 8]`."""
        for _ in range(times):
            x = x + self.factor * F.silu(self.layer(x))
        return x, None


class Attending(nn.Module):
    """A block with a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention(8, 2, 4)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, tokens, 8]`."""
        return self.attention(x)  # type: ignore[no-any-return]


class Denoiser(nn.Module):
    """Somebody's network."""

    _repeated_blocks: ClassVar = ["Wide", "Attending"]

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.attending = Wide(), Wide(), Attending()

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, tokens, 8]`."""
        x, _ = self.first(x)
        x, _ = self.second(x)
        return self.attending(x)  # type: ignore[no-any-return]


class Pair(nn.Module):
    """Two blocks that are made alike."""

    _repeated_blocks: ClassVar = ["Wide"]

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Wide(), Wide()

    def forward(self, x: Tensor) -> Tensor:
        """`[..., 8]`."""
        return self.second(self.first(x)[0])[0]  # type: ignore[no-any-return]


@dataclass(frozen=True, repr=False)
class Doubled(Strategy):
    """Has the second block compute something else."""

    slot: ClassVar = Slot.KERNEL

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Change it."""
        for _, network in networks.items():
            undo.set(network.second, "factor", 2)


class Asked(CompileQueue):
    """Compiles nothing, and keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[Order] = []

    def ask(self, order: Order, asker: object) -> CompiledCode:
        self.orders.append(order)
        return CompiledCode(order)


@pytest.fixture
def network() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser().requires_grad_(False)


X = noise(1, 5, 8)


def call(network: Any, x: Tensor = X) -> Any:
    with torch.no_grad():
        return network(x)


def asked_of(block: nn.Module, calls: Callable[[], object]) -> tuple[list[Order], str]:
    """What a block has compiled while there are these calls, and what it says then."""
    queue = Asked()
    with Undo() as undo, torch.no_grad():
        compiled = CompiledBlock(block, (), queue)
        compiled.replace(undo)
        calls()
        return queue.orders, compiled.state


@pytest.mark.slow
@needs_compiler
def test_blocks_go_over_while_they_are_called() -> None:
    torch.manual_seed(0)
    network = Pair().requires_grad_(False)
    plain, queue = call(network), shared_queue()
    before, count = vars(network.first).copy(), queue.compiled
    stack = PartsStack(unet=network)

    def go_over() -> Tensor:
        wanted: Tensor = call(network)
        while stack.remarks != ("2 of 2 blocks compute by compiled code.",):
            torch.testing.assert_close(call(network), wanted)
            assert " as written, since" not in stack.remarks[0]
            time.sleep(0.1)
        return wanted

    stack.enable(Compile())
    torch.testing.assert_close(go_over(), plain)
    assert queue.compiled == count + 1, "they share one piece of code"
    with torch.autograd.profiler.profile() as profile:
        torch.testing.assert_close(call(network), plain)
    assert "aten::silu" not in {event.name for event in profile.function_events}
    with TensorMeter() as meter:
        call(network)
    assert meter.peak >= X.nbytes, "what it gives is counted"

    # Weights are those of the moment, whatever they are.
    kept = network.second.layer.weight.clone()
    network.second.layer.weight.zero_()
    changed = call(network)
    assert not torch.allclose(changed, plain)
    stack.use([])
    torch.testing.assert_close(call(network), changed)
    network.second.layer.weight.copy_(kept)
    assert vars(network.first) == before
    assert torch.equal(call(network), plain)

    # What is switched on concerns one of the blocks: that alone is compiled again, and once.
    for _ in range(2):
        stack.use([Compile(), Doubled()])
        assert not torch.allclose(go_over(), plain)
        assert queue.compiled == count + 2
        stack.use([Compile()])
        torch.testing.assert_close(go_over(), plain)
    assert queue.compiled == count + 2
    stack.use([])
    assert torch.equal(call(network), plain)
    assert ask_elsewhere() == "0 compiled, 2 found"


def ask_elsewhere() -> str:
    """What another process compiles of the same, and what it finds."""
    command = "from tests.strategies.test_compilation import main; main()"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr


def main() -> None:
    """Have two kinds of blocks compiled, and say how that went."""
    network, queue = Pair().requires_grad_(False), shared_queue()
    network.second.factor = 2
    with Undo() as undo, torch.no_grad():
        for block in (network.first, network.second):
            CompiledBlock(block, (), queue).replace(undo)
        for _ in range(ENOUGH):
            network(X)
        while queue.compiled + queue.found < 2:
            time.sleep(0.01)
    print(f"{queue.compiled} compiled, {queue.found} found")


def test_nothing_is_compiled_for_a_few_calls(network: Denoiser) -> None:
    block = network.first

    def count_orders(times: int) -> int:
        return len(asked_of(block, lambda: [block(X) for _ in range(times)])[0])

    assert [count_orders(n) for n in (ENOUGH - 1, ENOUGH, 3 * ENOUGH)] == [0, 1, 1]


def test_every_kind_of_call_is_another_piece(network: Denoiser) -> None:
    block = network.first

    def call_in_many_ways() -> None:
        for _ in range(ENOUGH):
            for times in range(2 * MOST_KINDS):
                block(X, times=times)

    orders, _ = asked_of(block, call_in_many_ways)
    assert len({order.key for order in orders}) == len(orders) == 2 * MOST_KINDS


def test_what_is_alike_is_one_order(network: Denoiser) -> None:
    def order_of(block: nn.Module) -> Order:
        orders, _ = asked_of(block, lambda: [block(X) for _ in range(ENOUGH)])
        return orders[0]

    first, attending = order_of(network.first), order_of(network.attending)
    assert first.key == order_of(network.second).key != attending.key
    assert network.first.layer.weight.numpy().tobytes() not in pickle.dumps(first)
    stack = PartsStack(unet=network)
    with stack.using(AttentionKernel("math")):
        assert order_of(network.attending).key != attending.key
    assert order_of(network.attending).key == attending.key


def test_it_computes_as_written_where_it_must(network: Denoiser) -> None:
    block = network.first
    with torch.enable_grad():
        assert asked_of(block, lambda: _with_gradients(block))[0] == []

    def call_in_the_hollow_run() -> None:
        with compute_uncompiled():
            for _ in range(ENOUGH):
                block(X)

    assert asked_of(block, call_in_the_hollow_run)[0] == []


def _with_gradients(block: nn.Module) -> None:
    with torch.enable_grad():
        for _ in range(ENOUGH):
            block(X)


def test_what_acts_within_a_block_is_said(network: Denoiser) -> None:
    stack = PartsStack(unet=network)
    stack.enable(Compile())
    with Undo() as undo:
        undo.before(network.first.layer, lambda *_: None)
        for _ in range(ENOUGH):
            call(network, noise(1, 7, 8))
        (remark,) = stack.remarks
    assert "1 as written, since another strategy acts within it" in remark
    stack.use([])
    assert stack.remarks == ()


def test_what_another_process_cannot_know_is_said(network: Denoiser) -> None:
    class Local(nn.Module):
        pass

    stack = PartsStack(unet=network)
    with stack.using(Compile(), AttentionKernel("math")):
        call(network)
        assert stack.remarks[0].endswith("since a mode of torch replaces its attention.")
    with pytest.raises(Uncompilable, match="what another process cannot be told of"):
        outline_module(Local())
    network.first.layer.weight = nn.Parameter(torch.zeros(8, 8).to_sparse(), requires_grad=False)
    _, state = asked_of(network.first, lambda: None)
    assert state == "waiting"
    with pytest.raises(Uncompilable, match="does not lie as memory does"):
        TensorKind.of(torch.zeros(5)[1:])


def test_values_go_through_flat() -> None:
    tensors: list[Any] = []
    value = (X, {"a": [X, None], "b": 2}, True, "text")
    shape = flatten(value, tensors)
    assert hash(shape)
    again = unflatten(shape, iter(tensors))
    assert len(tensors) == 2
    assert again[0] is again[1]["a"][0] is X
    assert again[1]["b"] == 2
    with pytest.raises(Uncompilable, match="gives a set"):
        flatten({1}, [])


def test_whatever_fails_is_an_answer() -> None:
    told = ("value", int, 1), TorchSettings.now(), ()
    order = Order(pickle.dumps("no module"), (), (), (), *told)
    asked, answers = io.BytesIO(pickle.dumps(Job(order, "nowhere"))), io.BytesIO()
    serve(asked, answers)
    answer: Answer = pickle.loads(answers.getvalue())
    assert answer.failure


# --- where it cannot serve ---


def test_without_a_compiler_it_says_what_to_install(
    network: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    reason = PartsStack(unet=network).obstacle(Compile())
    assert reason is not None
    assert reason.startswith("Compile needs a C++ compiler, and neither g++ nor clang++ is found;")


def test_a_torch_that_is_made_otherwise_is_refused(
    network: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch._C, "_aoti")
    reason = PartsStack(unet=network).obstacle(Compile())
    assert reason is not None
    assert reason.endswith("has no _aoti; install one of these, or leave Compile out.")


def test_what_torch_compiles_already_is_left_alone(network: Denoiser) -> None:
    network.compile(backend="eager")
    reason = PartsStack(unet=network).obstacle(Compile())
    assert reason is not None
    assert reason.startswith("unet is compiled already, by torch.compile;")


def test_a_network_without_blocks_is_none_to_compile() -> None:
    stack: StrategyStack = PartsStack(unet=nn.Linear(1, 1))
    with pytest.raises(StrategyError, match="a denoiser that declares blocks"):
        stack.enable(Compile())
    wrong: Any = "fast"
    with pytest.raises(ValueError, match='use "default", "reduce-overhead" or "max-autotune"'):
        Compile(wrong)


@needs_compiler
def test_regions_are_blocks_or_the_network() -> None:
    pipe = build("tiny-sd")
    before = traces(pipe)
    pipe.strategies.enable(Compile(regional=False))
    assert "forward" in vars(pipe.unet)
    pipe.strategies.enable(Compile())
    assert "forward" not in vars(pipe.unet)
    attention = pipe.unet.mid_block.attentions[0]
    assert "forward" in vars(attention.transformer_blocks[0])
    assert "forward" not in vars(pipe.unet.mid_block.resnets[0]), "a CPU gains nothing there"
    assert pipe.strategies.remarks[0].startswith("0 of ")
    plain = draw(pipe)
    pipe.strategies.use([])
    assert traces(pipe) == before
    assert torch.equal(draw(pipe), plain)


@needs_compiler
def test_no_plan_claims_to_know_what_it_holds() -> None:
    table = plan(
        "sd15", device="RTX 3060", plans=[frozenset({dpnb.Compile()})], height=64, width=64
    )
    assert not table.rows
    assert table.left_out["Compile"].startswith("What compiled code holds is not known")


def test_the_compiler_is_not_loaded_where_one_draws() -> None:
    assert "dpnb.strategies.compilation" in sys.modules
    source = vars(sys.modules["dpnb.strategies.compile_queue"])
    assert not any("inductor" in name or "dynamo" in name for name in source)
