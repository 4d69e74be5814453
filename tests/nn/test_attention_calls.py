from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from dpnb.metering.tensors import TensorMeter
from dpnb.nn.attention_calls import AttentionCall, attend_in_slices
from dpnb.nn.attention_kernels import QUERIES_AT_ONCE

HEADS, TOKENS = 6, 37


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def call(heads: int = HEADS, tokens: int = TOKENS, width: int = 16, **others: Any) -> AttentionCall:
    shapes = {"query": (2, HEADS, tokens, width)}
    shapes |= dict.fromkeys(("key", "value"), (2, heads, TOKENS, width))
    tensors = {name: random(*shape, seed=len(name)) for name, shape in shapes.items()}
    return AttentionCall(**tensors | others)


CALLS = {
    "nothing else": call(),
    "few queries": call(tokens=5),
    "a mask of numbers": call(attn_mask=random(TOKENS, TOKENS)),
    "a mask of a batch": call(attn_mask=random(2, 1, TOKENS, TOKENS)),
    "a mask of each head": call(attn_mask=random(2, HEADS, TOKENS, TOKENS)),
    "a mask of heads alone": call(attn_mask=random(HEADS, 1, TOKENS)),
    "a mask of truths": call(attn_mask=random(2, 1, 1, TOKENS) > -0.5),
    "causal": call(is_causal=True),
    "scale": call(scale=0.5),
    "shared keys": call(heads=3, enable_gqa=True),
    "one key for all": call(heads=1, enable_gqa=True, attn_mask=random(1, HEADS, 1, TOKENS)),
    "wide values": call(value=random(2, HEADS, TOKENS, 24)),
    "wide heads": call(tokens=QUERIES_AT_ONCE + 5, width=260),
    "wide heads with a mask": call(
        tokens=QUERIES_AT_ONCE + 5, width=260, attn_mask=random(QUERIES_AT_ONCE + 5, TOKENS)
    ),
    "wide causal heads": call(width=260, is_causal=True),
    "no heads": AttentionCall(
        random(4, TOKENS, 16),
        random(4, TOKENS, 16, seed=1),
        random(4, TOKENS, 16, seed=2),
        random(4, TOKENS, TOKENS),
    ),
    "no queries": call(tokens=0),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("heads", [1, 2, 4, 7])
@pytest.mark.parametrize("has_gradients", [True, False])
def test_slices_attend_as_the_whole(name: str, heads: int, has_gradients: bool) -> None:
    one = CALLS[name]
    before = one.query.clone()
    assert one.is_sliceable
    with torch.set_grad_enabled(has_gradients):
        torch.testing.assert_close(attend_in_slices(one, heads), one.compute(), rtol=0, atol=2e-6)
    assert torch.equal(one.query, before)


def test_heads_that_share_keys_stay_together() -> None:
    parts = [list(row) for row in call(heads=2, enable_gqa=True).split(1)]
    assert [[part.heads for part in row] for row in parts] == [[3], [3]]
    assert [row[0].key.shape[1] for row in parts] == [1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_slices_are_of_the_dtype_of_the_whole(dtype: torch.dtype) -> None:
    one = AttentionCall(*random(3, 1, 4, 9, 8).to(dtype))
    with torch.no_grad():
        assert attend_in_slices(one, 1).dtype == dtype


@pytest.mark.parametrize("is_split_off", [True, False])
def test_slices_are_laid_out_as_fused_kernels_do_it(is_split_off: bool) -> None:
    query = random(2, TOKENS, HEADS, 16).transpose(1, 2) if is_split_off else call().query
    one = call(query=query)
    with torch.no_grad():
        assert attend_in_slices(one, 1).stride() == one.compute().stride()


def test_gradients_pass_through_slices() -> None:
    gradients = []
    for compute in (AttentionCall.compute, lambda one: attend_in_slices(one, 2)):
        query = random(1, 4, 9, 8).requires_grad_()
        compute(AttentionCall(query, *random(2, 1, 4, 9, 8, seed=1))).square().sum().backward()
        gradients.append(query.grad)
    torch.testing.assert_close(*gradients)


def test_what_drops_weights_or_is_nested_is_not_sliced() -> None:
    assert not call(dropout_p=0.1).is_sliceable
    nested = torch.nested.nested_tensor([random(3, 8), random(5, 8)], layout=torch.jagged)
    assert not AttentionCall(nested, nested, nested).is_sliceable


def test_the_matrix_is_known_to_be_built_where_it_is() -> None:
    assert not call().builds_matrix
    with sdpa_kernel(SDPBackend.MATH):
        assert call().builds_matrix
    assert call(value=random(2, HEADS, TOKENS, 24)).builds_matrix


@pytest.mark.parametrize("heads", [1, 2])
def test_a_slice_of_the_matrix_is_held_at_a_time(heads: int) -> None:
    query, key, value = random(3, 1, 8, 256, 16)
    value = value[..., :12].contiguous()

    def peak(heads: int) -> Any:
        one = AttentionCall(query, key, value)
        assert one.builds_matrix
        with torch.no_grad(), TensorMeter() as meter:
            attend_in_slices(one, heads)
        return meter.peak

    matrix = 8 * 256 * 256 * 4
    with torch.no_grad(), TensorMeter() as meter:
        F.scaled_dot_product_attention(query, key, value)
    assert meter.peak > matrix
    assert peak(heads) < meter.peak * heads / 8 + query.nbytes
