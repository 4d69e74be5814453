"""Blocks whose code is there: they compute what they would as written, whatever acts on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dpnb
from dpnb.nn.attention import Attention
from dpnb.nn.perturbed_attention import attend_to_self, perturb_attention
from dpnb.strategies import compilation
from dpnb.strategies.block_contents import BlockContents
from dpnb.strategies.compilation import Compile
from dpnb.strategies.compile_order import TensorKind, Uncompilable, flatten
from dpnb.strategies.compiled_blocks import (
    CALLS_UNTIL_COMPILED,
    CALLS_UNTIL_LASTING,
    MOST_KINDS,
    MOST_SEEN,
    CompiledBlock,
)
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.perturbed_attention import PerturbedAttention
from dpnb.strategies.placement import SequentialOffload
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.undo import Undo
from tests.strategies.eager_code import EagerQueue
from tests.strategies.pipes import LINK, build, draw, traces

ENOUGH = CALLS_UNTIL_COMPILED


class Scale:
    """A part that is no module."""

    def __init__(self) -> None:
        self.by = 1.0


class Block(nn.Module):
    """A block with all that may be changed of one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.attention = nn.Linear(8, 8), Attention(8, 2, 4)
        self.divisor, self.scale, self.shifts, self.marks = 1.0, Scale(), [0.0], {""}

    def forward(self, x: Tensor, times: float = 1.0) -> Tensor:
        """`[batch, tokens, 8]`."""
        x = x + self.attention(F.silu(self.layer(x)) * times)
        return x * self.scale.by / self.divisor + self.shifts[0] + len(self.marks)


class Compiled:
    """A block that is called without gradients, and its code."""

    def __init__(self, block: nn.Module, undo: Undo) -> None:
        self.block, self.queue = block, EagerQueue()
        self.compiled = CompiledBlock(block, (), self.queue)
        self.compiled.replace(undo)

    @torch.no_grad()
    def __call__(self, x: Tensor, *args: Any) -> Tensor:
        """Calls it; what it gives is what it would give as written."""
        made: Tensor = self.block(x, *args)
        torch.testing.assert_close(made, type(self.block).forward(self.block, x, *args))
        return made

    def warm(self, x: Tensor, *args: Any) -> None:
        """Until such calls are computed by code."""
        for _ in range(CALLS_UNTIL_LASTING + ENOUGH + 1):
            before = self.queue.calls
            self(x, *args)
        assert self.queue.calls == before + 1


X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def compiled() -> Iterator[Compiled]:
    torch.manual_seed(0)
    with Undo() as undo:
        yield Compiled(Block().requires_grad_(False), undo)


# --- what a block is made of ---


def set_divisor(block: Any) -> None:
    block.divisor = 2


def set_part(block: Any) -> None:
    block.scale.by = 2.0


def set_item(block: Any) -> None:
    block.shifts[0] = 1.0


def add_item(block: Any) -> None:
    block.marks.add("more")


def set_kernel(block: Any) -> None:
    block.attention.kernel = lambda query, key, value: 2 * value


def replace_layer(block: Any) -> None:
    block.layer = nn.Linear(8, 8, bias=False).requires_grad_(False)


def remove_bias(block: Any) -> None:
    block.layer.bias = None


def add_bias(block: Any) -> None:
    block.layer.bias = nn.Parameter(torch.ones(8), requires_grad=False)


def hook_layer(block: Any) -> None:
    block.layer.register_forward_hook(lambda module, args, output: 2 * output)


def replace_method(block: Any) -> None:
    block.layer.forward = lambda x: 2 * x


@pytest.mark.parametrize(
    "change",
    [
        set_divisor,
        set_part,
        set_item,
        add_item,
        set_kernel,
        replace_layer,
        remove_bias,
        hook_layer,
        replace_method,
    ],
)
def test_what_is_changed_later_is_computed(
    compiled: Compiled, change: Callable[[Any], None]
) -> None:
    compiled.warm(X)
    before = compiled(X)
    change(compiled.block)
    assert not torch.allclose(compiled(X), before)
    for _ in range(CALLS_UNTIL_LASTING + ENOUGH):
        compiled(X)


def test_what_stays_is_compiled_again(compiled: Compiled) -> None:
    compiled.warm(X)
    for change in (set_divisor, set_part, set_item, remove_bias, add_bias, replace_layer):
        change(compiled.block)
        compiled.warm(X)
        assert compiled.compiled.state == "compiled"


def test_weights_of_another_kind_are_compiled_again(compiled: Compiled) -> None:
    compiled.warm(X)
    compiled.block.double()
    compiled.warm(X.double())
    assert len(compiled.queue.codes) == 2
    weight = compiled.block.get_submodule("layer").get_parameter("weight")
    weight.data = weight.mT.contiguous().mT
    compiled.warm(X.double())
    assert len(compiled.queue.codes) == 3, "it lies otherwise in memory"


def test_a_kernel_of_one_pass_is_used_in_it(compiled: Compiled) -> None:
    block: Any = compiled.block
    for _ in range(2 * ENOUGH):
        plain = compiled(X)
        with perturb_attention([block.attention]):
            assert not torch.allclose(compiled(X), plain)
    assert len(compiled.queue.codes) == 1
    assert compiled.queue.calls > ENOUGH
    assert compiled.compiled.state == "compiled"


def test_what_is_never_the_same_is_said(compiled: Compiled) -> None:
    block: Any = compiled.block
    for count in range(12 * ENOUGH):
        block.divisor = float(count + 2)
        compiled(X)
    assert compiled.queue.codes == []
    assert compiled.compiled.state == "something in it is another thing in every call"


def test_hooks_on_the_block_itself_lie_around_it(compiled: Compiled) -> None:
    compiled.block.register_forward_hook(lambda module, args, output: output)
    compiled.warm(X)
    assert compiled.compiled.state == "compiled"


def test_tensors_that_are_no_weights_are_not_taken_for_constants(compiled: Compiled) -> None:
    block: Any = compiled.block
    block.cached = torch.zeros(3)
    for _ in range(2 * ENOUGH):
        compiled(X)
    assert compiled.compiled.state == "it keeps tensors beside its weights"


def test_every_weight_has_a_name(compiled: Compiled) -> None:
    contents = BlockContents(compiled.block)
    weights = contents.find_weights()
    assert weights is not None
    assert len(weights) == len(contents.names) == len(compiled.block.state_dict())


# --- kinds of calls ---


def test_sizes_come_and_go(compiled: Compiled) -> None:
    for tokens in range(1, 2 * MOST_KINDS):
        compiled.warm(torch.ones(1, tokens, 8))
        assert compiled.compiled.state == "compiled"
    wanted = [code for asker, code in compiled.queue.codes if asker in code.wanted_by]
    assert len(wanted) == MOST_KINDS


def test_numbers_that_change_with_each_call_push_no_code_out(compiled: Compiled) -> None:
    compiled.warm(X)
    for count in range(2 * MOST_SEEN):
        compiled(X, float(count))
    before = compiled.queue.calls
    compiled(X)
    assert compiled.queue.calls == before + 1
    assert len(compiled.queue.codes) == 1
    assert len(compiled.compiled._seen) == MOST_SEEN


def test_settings_of_torch_are_part_of_what_is_compiled(compiled: Compiled) -> None:
    compiled.warm(X)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        compiled.warm(X)
    finally:
        torch.set_float32_matmul_precision(precision)
    first, second = (order.settings for order in compiled.queue.orders)
    assert (first.matmul_precision, second.matmul_precision) == (precision, "high")
    assert compiled.queue.orders[0].key != compiled.queue.orders[1].key


def test_a_default_device_changes_nothing_but_where_tensors_are_made(compiled: Compiled) -> None:
    torch.set_default_device("cpu")
    try:
        compiled.warm(X)
    finally:
        torch.set_default_device(None)
    assert compiled.compiled.state == "compiled"


def test_one_order_is_for_one_device() -> None:
    order = orders_of(Block())[0]
    assert order.find_device() == torch.device("cpu")
    kinds = [TensorKind((1,), (1,), torch.float32, torch.device("cuda", k)) for k in range(2)]
    away = type(order)(b"", (), (), (order.inputs[0], kinds[0]), None, order.settings, ())
    assert away.find_device() == torch.device("cuda", 0)
    nowhere = type(order)(b"", (), (), tuple(kinds), None, order.settings, ())
    with pytest.raises(Uncompilable, match="on several devices"):
        nowhere.find_device()


def orders_of(block: nn.Module) -> list[Any]:
    """What is ordered for a block."""
    with Undo() as undo:
        made = Compiled(block.requires_grad_(False), undo)
        made.warm(X)
        return made.queue.orders


def test_equal_orders_are_one(compiled: Compiled) -> None:
    (first,), (second,) = orders_of(Block()), orders_of(Block())
    assert first is not second
    assert first == second
    assert first.key == second.key
    assert hash(first) == hash(second)
    assert flatten({"a": 1.0}, []) != flatten({"a": 1}, [])


# --- code that fails ---


def test_code_that_fails_is_left_for_what_was_written(compiled: Compiled) -> None:
    compiled.warm(X)

    def fail(given: list[Tensor]) -> list[Tensor]:
        given.clear()
        raise RuntimeError("0x7f is no address")

    compiled.queue.codes[0][1].run = fail
    for _ in range(2):
        compiled(X)
    assert compiled.compiled.state == "its code has failed with RuntimeError"


def test_a_lack_of_memory_is_no_fault_of_the_code(compiled: Compiled) -> None:
    compiled.warm(X)

    def fail(given: list[Tensor]) -> list[Tensor]:
        raise torch.OutOfMemoryError

    code = compiled.queue.codes[0][1]
    kept, code.run = code.run, fail
    with pytest.raises(torch.OutOfMemoryError):
        compiled(X)
    code.run = kept
    compiled(X)
    assert compiled.compiled.state == "compiled"


# --- pipelines ---


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> EagerQueue:
    """Has blocks compiled at once."""
    made = EagerQueue()
    monkeypatch.setattr(compilation, "shared_queue", lambda: made)
    monkeypatch.setattr(compilation, "_toolchain_obstacle", lambda device: None)
    return made


WITH: dict[str, tuple[str, tuple[Strategy, ...], dict[str, Any]]] = {
    "self-attention guidance": ("sag", (), {"sag_scale": 1.0}),
    "perturbed attention": ("tiny-sd", (PerturbedAttention(),), {}),
    "perturbed attention without a prompt": (
        "tiny-sd",
        (PerturbedAttention(),),
        {"guidance_scale": 1.0},
    ),
    "step cache": ("tiny-flux", (StepCache(threshold=10.0, first=1, last=0),), {}),
    "offload": ("tiny-sd", (SequentialOffload(device=LINK),), {}),
    "conditioning": ("tiny-sd", (ConditioningCache(),), {}),
}


@pytest.mark.parametrize("name", WITH)
def test_pictures_are_those_without_code(name: str, queue: EagerQueue) -> None:
    built, strategies, arguments = WITH[name]
    pipe = build(built)
    before = traces(pipe)
    with pipe.strategies.using(*strategies):
        plain = draw(pipe, 4, **arguments)
        with pipe.strategies.using(*strategies, Compile()):
            for _ in range(2):
                torch.testing.assert_close(draw(pipe, 4, **arguments), plain)
            (remark,) = [one for one in pipe.strategies.remarks if "compiled code" in one]
    assert "0x" not in remark
    if name == "conditioning":
        assert "as written, since it keeps tensors beside its weights" in remark
    else:
        assert queue.calls > 0, remark
        assert not remark.startswith("0 of"), remark
    assert traces(pipe) == before


def test_attention_that_is_replaced_in_one_layer_is_used(queue: EagerQueue) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    attention = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1
    with pipe.strategies.using(Compile()):
        plain = draw(pipe, 4)
        attention.kernel = attend_to_self
        changed = draw(pipe, 4)
    torch.testing.assert_close(changed, draw(pipe, 4))
    assert not torch.allclose(changed, plain)
    assert queue.calls > 0
