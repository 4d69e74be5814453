from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from dpnb.models.tiling import layers
from dpnb.models.tiling.layers import (
    GroupStatistics,
    call_with_hooks,
    convolve_strip,
    normalise_strip,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def group_norm(dtype: torch.dtype = torch.float32) -> nn.GroupNorm:
    norm = nn.GroupNorm(4, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.to(dtype)


def statistics_of(x: Tensor, rows: int, groups: int = 4) -> GroupStatistics:
    statistics = GroupStatistics(groups)
    for strip in x.split(rows, dim=2):
        statistics.add(strip)
    return statistics


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 20])
def test_strips_have_the_norm_of_the_whole_map(rows: int) -> None:
    x, norm = torch.randn(2, 8, 7, 5) * 3 + 1, group_norm()
    statistics = statistics_of(x, rows)
    strips = [normalise_strip(norm, strip, statistics) for strip in x.split(rows, dim=2)]
    torch.testing.assert_close(torch.cat(strips, dim=2), norm(x))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_normalised_in_single(dtype: torch.dtype) -> None:
    x, norm = torch.randn(2, 8, 7, 5).to(dtype), group_norm(dtype)
    ours, plain = normalise_strip(norm, x, statistics_of(x, 2)), norm(x)
    exact = F.group_norm(x.float(), 4, norm.weight.float(), norm.bias.float())
    assert ours.dtype is dtype
    assert (ours - exact).abs().max() <= 1.01 * (plain - exact).abs().max()


@torch.no_grad()
def test_a_mean_far_from_zero_costs_no_precision() -> None:
    x = torch.randn(1, 8, 64, 64) + 1000
    _, variance = statistics_of(x, 8).per_channel
    exact = x.double().reshape(4, -1).var(dim=1, correction=0).repeat_interleave(2)
    torch.testing.assert_close(variance[0].double(), exact, rtol=1e-5, atol=0)


class Brought(TorchDispatchMode):
    """How many tensors within are made of numbers of the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (torch.ops.aten.lift_fresh.default, torch.ops.aten._to_copy.default)
        return func(*args, **(kwargs or {}))


@torch.no_grad()
@pytest.mark.parametrize("rows", [2, 3, 7])
def test_statistics_bring_nothing_from_the_host(rows: int) -> None:
    """It would be waited for, at every norm."""
    statistics = statistics_of(torch.randn(2, 8, 7, 5), rows)
    with Brought() as brought:
        torch.tensor([1.0])
        assert brought.count == 1
        _ = statistics.per_channel
    assert brought.count == 1


@torch.no_grad()
def test_large_strips_are_centred_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 8, 6, 5)
    whole = statistics_of(x, 3).per_channel
    monkeypatch.setitem(layers.PIECE, "cpu", 40)
    for one, other in zip(whole, statistics_of(x, 3).per_channel, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_strips_with_their_neighbours_are_convolved_as_the_whole_map() -> None:
    x, conv = torch.randn(2, 3, 6, 5), nn.Conv2d(3, 4, 3, padding=1)
    strips = [
        convolve_strip(conv, x[:, :, :3], above=1),
        convolve_strip(conv, x[:, :, 1:5]),
        convolve_strip(conv, x[:, :, 3:], below=1),
    ]
    torch.testing.assert_close(torch.cat(strips, dim=2), conv(x))


@torch.no_grad()
def test_hooks_see_every_call() -> None:
    x, norm, conv = torch.randn(1, 8, 4, 4), group_norm(), nn.Conv2d(8, 8, 3, padding=1)
    seen: list[nn.Module] = []
    for layer in (norm, conv):
        layer.register_forward_pre_hook(lambda module, args: seen.append(module))
        layer.register_forward_hook(lambda module, args, out: seen.append(module))
    convolve_strip(conv, normalise_strip(norm, x, statistics_of(x, 4)), 1, 1)
    assert seen == [norm, norm, conv, conv]


@torch.no_grad()
def test_weights_count_as_hooks_leave_them() -> None:
    x, norm = torch.randn(1, 8, 4, 4), group_norm()

    def double(module: nn.Module, args: object) -> None:
        assert isinstance(module, nn.GroupNorm)
        module.weight.data = module.weight.data * 2

    expected = F.group_norm(x, 4, norm.weight * 2, norm.bias)
    norm.register_forward_pre_hook(double)
    torch.testing.assert_close(normalise_strip(norm, x, statistics_of(x, 2)), expected)


def test_a_block_has_its_own_work_back_whatever_happens() -> None:
    block = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError):
        call_with_hooks(block, lambda x: x / (1 // 0), torch.ones(2))
    assert "forward" not in vars(block)
    block.forward = replaced = lambda x: x + 1  # type: ignore[method-assign]
    assert torch.equal(
        call_with_hooks(block, lambda x: x * 5, torch.ones(2)), torch.full((2,), 5.0)
    )
    assert block.forward is replaced


def test_threads_exchange_the_work_of_one_block_each_for_itself() -> None:
    """One comes while another is inside, and leaves after it; a third has the block's own work."""
    block, x = nn.Linear(2, 2), torch.ones(1, 2)
    own = block(x)
    inside, may_leave = (Event(), Event()), (Event(), Event())

    def run(place: int) -> Tensor:
        def compute(x: Tensor) -> Tensor:
            inside[place].set()
            assert may_leave[place].wait(60)
            return x * (place + 2)

        return call_with_hooks(block, compute, x)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, 0)
        assert inside[0].wait(60)
        second = pool.submit(run, 1)
        assert inside[1].wait(60)
        torch.testing.assert_close(block(x), own)
        may_leave[0].set()
        torch.testing.assert_close(first.result(60), x * 2)
        torch.testing.assert_close(block(x), own)
        may_leave[1].set()
        torch.testing.assert_close(second.result(60), x * 3)
    assert "forward" not in vars(block)
    torch.testing.assert_close(block(x), own)
