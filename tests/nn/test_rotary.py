from __future__ import annotations

import math

import pytest
import torch

from dpnb.nn.attention_projections import FUSED
from dpnb.nn.modulation import Modulation, modulate
from dpnb.nn.rotary import RotaryAttention, apply_rotary, rotary_table
from dpnb.nn.time_conditioning import project_time


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_a_turn_keeps_lengths_and_products_depend_on_distances() -> None:
    """The law that rotary embeddings are made for."""
    query, key = torch.randn(2, 1, 1, 1, 12)
    widths = (4, 8)

    def product(at: list[float], other: list[float]) -> torch.Tensor:
        one = apply_rotary(query.clone(), rotary_table(torch.tensor([at]), widths))
        two = apply_rotary(key.clone(), rotary_table(torch.tensor([other]), widths))
        torch.testing.assert_close(one.norm(), query.norm())
        return (one * two).sum()

    torch.testing.assert_close(product([3.0, 5.0], [1.0, 9.0]), product([12.0, 7.0], [10.0, 11.0]))
    assert not torch.allclose(product([3.0, 5.0], [1.0, 9.0]), product([3.0, 5.0], [2.0, 9.0]))


def test_the_first_pair_turns_by_the_position_in_radians() -> None:
    x = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 1, 1, 4)
    turned = apply_rotary(x.clone(), rotary_table(torch.tensor([[2.0]]), (4,))).flatten()
    expected = [math.cos(2), math.sin(2), math.cos(0.02), math.sin(0.02)]
    torch.testing.assert_close(turned, torch.tensor(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_turning_in_place_gives_the_same_bits(dtype: torch.dtype) -> None:
    x = torch.randn(2, 5, 3, 8, dtype=dtype)
    table = rotary_table(torch.arange(10.0).view(5, 2), (2, 6))
    kept = x.clone()
    expected = apply_rotary(x, table)
    assert torch.equal(x, kept), "with gradients on, nothing is overwritten"
    with torch.no_grad():
        assert apply_rotary(x, table) is x
    assert torch.equal(x, expected)


@pytest.mark.parametrize("joins", [False, True])
def test_fused_matrices_find_the_same(joins: bool) -> None:
    from contextlib import ExitStack

    from dpnb.strategies.projection import join_layers
    from dpnb.strategies.undo import Undo

    attention = RotaryAttention(12, heads=2, head_dim=4, joins_context=joins)
    tokens, context = torch.randn(2, 5, 12), torch.randn(2, 3, 12) if joins else None
    table = rotary_table(torch.arange(24.0).view(8, 3)[: 8 if joins else 5], (2, 2, 0))
    with torch.no_grad(), ExitStack() as stack:
        plain = attention(tokens, context, table)
        undo = stack.enter_context(Undo())
        for name, names in attention.fusible_layers.items():
            join_layers(attention, name, names, undo)
        undo.set(attention, "projection", FUSED)
        assert set(attention.fusible_layers) == {"to_qkv", *(["to_added_qkv"] if joins else [])}
        torch.testing.assert_close(attention(tokens, context, table), plain)


@pytest.mark.parametrize("batch", [1, 3])
def test_modulation_is_a_norm_with_scale_and_shift_of_the_picture(batch: int) -> None:
    x, scale, shift = torch.randn(batch, 5, 8), torch.randn(batch, 1, 8), torch.randn(batch, 1, 8)
    normed = (x - x.mean(-1, keepdim=True)) / (
        x.var(-1, unbiased=False, keepdim=True) + 1e-6
    ).sqrt()
    expected, kept = normed * (1 + scale) + shift, x.clone()
    torch.testing.assert_close(modulate(x, scale, shift), expected)
    with torch.no_grad():
        torch.testing.assert_close(modulate(x, scale, shift), expected)
    assert torch.equal(x, kept)


def test_what_modulates_comes_from_its_slot() -> None:
    layer = Modulation(4, 3)
    time = torch.randn(2, 4)
    assert layer.time_projection is project_time
    first = layer(time)[0]
    torch.testing.assert_close(first, layer.linear(time)[:, None, :4])
    layer.time_projection = lambda _, time: torch.ones(len(time), 12)
    assert all(torch.equal(part, torch.ones(2, 1, 4)) for part in layer(time))
