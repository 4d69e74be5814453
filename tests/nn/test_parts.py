from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dpnb.nn import inplace
from dpnb.nn.attention import Attention, PictureAttention
from dpnb.nn.attention_kernels import sdpa
from dpnb.nn.attention_projections import SEPARATE
from dpnb.nn.channel_projection import ToFeatureMap, ToTokens
from dpnb.nn.embeddings import Timesteps, embed_guidance, get_timestep_embedding, sinusoids
from dpnb.nn.resampling import Downsample, Upsample
from dpnb.nn.transformer import TransformerBlock


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("in_place", "plain"),
    [
        (lambda x, y: inplace.silu(x), lambda x, y: F.silu(x)),
        (inplace.add, lambda x, y: x + y),
        (inplace.multiply, lambda x, y: x * y),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_working_in_place_gives_the_same_bits(
    in_place: Callable[[Tensor, Tensor], Tensor],
    plain: Callable[[Tensor, Tensor], Tensor],
    dtype: torch.dtype,
) -> None:
    x, y = torch.randn(2, 5, 7, dtype=dtype)
    expected, kept = plain(x, y), x.clone()
    assert torch.equal(in_place(x, y), expected)
    assert torch.equal(x, kept), "with gradients on, nothing is overwritten"
    with torch.no_grad():
        result = in_place(x, y)
    assert torch.equal(result, expected)
    assert result.data_ptr() == x.data_ptr()


def test_attention_begins_with_its_plain_defaults() -> None:
    attention = Attention(8, heads=2, head_dim=4)
    assert attention.projection is SEPARATE
    assert attention.kernel is sdpa
    assert set(attention.state_dict()) == {
        "to_q.weight",
        "to_k.weight",
        "to_v.weight",
        "to_out.0.weight",
        "to_out.0.bias",
    }


def test_attention_is_the_softmax_of_scaled_products() -> None:
    attention = Attention(8, heads=2, head_dim=4, context_dim=6)
    x, context = torch.randn(3, 5, 8), torch.randn(3, 7, 6)
    q, k, v = (
        project(source).unflatten(-1, (2, 4)).transpose(1, 2)
        for project, source in (
            (attention.to_q, x),
            (attention.to_k, context),
            (attention.to_v, context),
        )
    )
    weights = (q @ k.mT / 2).softmax(-1)
    expected = attention.to_out[0]((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, context), expected)


def test_a_slot_takes_another_kernel() -> None:
    attention = Attention(8, heads=2, head_dim=4)
    seen: list[torch.Size] = []

    def kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen.append(query.shape)
        return sdpa(query, key, value)

    attention.kernel = kernel
    attention(torch.randn(1, 5, 8))
    assert seen == [(1, 2, 5, 4)]


def test_picture_attention_keeps_the_shape() -> None:
    attention = PictureAttention(8, groups=2, eps=1e-6)
    assert attention(torch.randn(2, 8, 3, 5)).shape == (2, 8, 3, 5)


@pytest.mark.parametrize("pointwise", [True, False])
def test_positions_are_multiplied_as_a_convolution_would(pointwise: bool) -> None:
    x = torch.randn(2, 6, 3, 5)
    inward, outward = ToTokens(6, 4, pointwise=pointwise), ToFeatureMap(4, 6, pointwise=pointwise)
    tokens = F.conv2d(x, inward.weight.view(4, 6, 1, 1), inward.bias).flatten(2).transpose(1, 2)
    torch.testing.assert_close(inward(x), tokens)
    picture = tokens.transpose(1, 2).unflatten(2, (3, 5))
    expected = F.conv2d(picture, outward.weight.view(6, 4, 1, 1), outward.bias)
    torch.testing.assert_close(outward(tokens, x), expected)
    innermost = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(inward(innermost), tokens)
    mapped = outward(tokens, innermost)
    torch.testing.assert_close(mapped, expected)
    assert mapped.is_contiguous(memory_format=torch.channels_last)


def test_a_feed_forward_in_shares_equals_the_whole() -> None:
    block = TransformerBlock(16, heads=2, head_dim=8, context_dim=12)
    x, context = torch.randn(2, 3000, 16), torch.randn(2, 7, 12)
    whole = block(x.clone(), context)
    with torch.no_grad():
        shares = block(x.clone(), context)
    torch.testing.assert_close(shares, whole)


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_a_map_returns_to_the_size_that_it_had(size: tuple[int, int]) -> None:
    x = torch.randn(1, 4, *size)
    small = Downsample(4)(x)
    assert small.shape[2:] == tuple(-(-side // 2) for side in size)
    assert Upsample(4)(small, size).shape == x.shape


def test_without_a_size_a_map_doubles() -> None:
    assert Upsample(4)(torch.randn(1, 4, 3, 5)).shape == (1, 4, 6, 10)


def test_sinusoids_of_zero_are_ones_then_zeros() -> None:
    features = sinusoids(torch.zeros(1), 6)
    assert torch.equal(features, torch.tensor([[1.0, 1, 1, 0, 0, 0]]))
    assert sinusoids(torch.zeros(2), 5).shape == (2, 5)


def test_sinusoids_have_arguments_of_other_names() -> None:
    values = torch.arange(4)
    by_name = get_timestep_embedding(values, 8, True, 0, scale=3)
    torch.testing.assert_close(by_name, sinusoids(values * 3, 8))
    assert torch.equal(Timesteps(8, True, 0, 3)(values), by_name)
    assert torch.equal(
        get_timestep_embedding(values, 8),
        sinusoids(values, 8, flip_sin_to_cos=False, freq_shift=1),
    )
    with pytest.raises(ValueError, match="sinusoids have 10000 here"):
        get_timestep_embedding(values, 8, max_period=100)


def test_a_guidance_embedding_has_a_row_for_each_scale() -> None:
    assert embed_guidance(torch.tensor([6.5, 3.0]), 32).shape == (2, 32)
