from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.errors import StrategyError
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.attention import Attention, PictureAttention
from dpnb.nn.attention_kernels import QUERIES_AT_ONCE, SlicedKernel, XFormersKernel, sdpa
from dpnb.strategies.attention import AttentionSlicing, XFormers
from tests.strategies.conftest import Ops
from tests.strategies.pipes import build, draw

pytestmark = pytest.mark.exhaustive


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def kernels(pipe: Any) -> dict[int, set[Any]]:
    """The kernels in use, by number of heads."""
    found: dict[int, set[Any]] = {}
    for attention in pipe.strategies.networks.modules_of(Attention):
        found.setdefault(attention.heads, set()).add(attention.kernel)
    return found


# --- slicing ---


@pytest.mark.parametrize(
    ("size", "heads_at_once"),
    [("auto", {1: 1, 2: 1, 4: 2}), ("max", {1: 1, 2: 1, 4: 1}), (2, {1: 2, 2: 2, 4: 2})],
)
def test_a_slice_size_says_how_many_heads_attend_at_once(
    pipe: Any, size: Any, heads_at_once: dict[int, int]
) -> None:
    pipe.enable_attention_slicing(size)
    found = kernels(pipe)
    assert len(found) > 1
    for heads, used in found.items():
        assert used == {SlicedKernel(sdpa, heads_at_once[heads])}


@pytest.mark.parametrize("heads", [1, 2, 3, 8])
@pytest.mark.parametrize("at_once", [1, 2, 5])
@pytest.mark.parametrize("head_dim", [16, 512])
def test_slices_attend_as_the_whole(heads: int, at_once: int, head_dim: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, heads, 33, head_dim)
    whole = sdpa(query, key, value)
    sliced = SlicedKernel(sdpa, at_once)(query, key, value)
    torch.testing.assert_close(sliced, whole, rtol=0, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(SlicedKernel(sdpa, at_once)(query, key, value), whole)


def test_a_very_wide_head_attends_over_a_few_queries_at_a_time() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 1, 2 * QUERIES_AT_ONCE + 5, 260)
    rows: list[int] = []

    def watched(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rows.append(query.shape[2])
        return sdpa(query, key, value)

    whole = sdpa(query, key, value)
    with torch.no_grad():
        sliced = SlicedKernel(watched, 1)(query, key, value)
    assert rows == [QUERIES_AT_ONCE, QUERIES_AT_ONCE, 5]
    torch.testing.assert_close(sliced, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tokens", [64, 256, 1024])
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_only_one_slice_is_held_besides(tokens: int, at_once: int) -> None:
    query, key, value = torch.randn(3, 2, 8, tokens, 16)

    def peak(kernel: Any) -> Any:
        with torch.no_grad(), TensorMeter() as meter:
            kernel(query.clone(), key, value)
        return meter.peak - query.nbytes

    one_slice = query.nbytes * at_once // 8
    statistics = tokens * 2 * 8 * 4
    assert peak(sdpa) >= query.nbytes
    assert peak(SlicedKernel(sdpa, at_once)) <= one_slice + statistics * at_once // 8


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("size", ["auto", "max", 1])
def test_slicing_never_costs_memory(pipe: Any, side: int, size: Any) -> None:
    def peak() -> Any:
        with TensorMeter() as meter:
            draw(pipe, height=side, width=side)
        return meter.peak

    draw(pipe)
    plain = peak()
    pipe.enable_attention_slicing(size)
    assert peak() <= plain


@pytest.mark.parametrize("size", [0, -1])
def test_a_slice_has_at_least_one_head(pipe: Any, size: int) -> None:
    with pytest.raises(ValueError, match=f"slice_size is {size}; use at least 1"):
        pipe.enable_attention_slicing(size)


@pytest.mark.parametrize("size", [1.5, "most", True, [1]])
def test_a_slice_size_is_a_number_or_one_of_two_words(pipe: Any, size: Any) -> None:
    with pytest.raises(TypeError, match="slice_size is"):
        pipe.enable_attention_slicing(size)


def test_a_slice_has_no_more_heads_than_there_are(pipe: Any) -> None:
    with pytest.raises(StrategyError, match=r"slice_size is 99.*use at most"):
        pipe.enable_attention_slicing(99)
    assert pipe.strategies.active == frozenset()


def test_none_switches_slicing_off(pipe: Any) -> None:
    pipe.enable_attention_slicing()
    pipe.enable_attention_slicing(None)
    assert pipe.strategies.find(AttentionSlicing) is None
    pipe.set_attention_slice(1)
    pipe.set_attention_slice(None)
    assert kernels(pipe) == {heads: {sdpa} for heads in kernels(pipe)}


def test_gradients_pass_through_slices() -> None:
    torch.manual_seed(0)
    attention = Attention(16, heads=4, head_dim=4)
    x = torch.randn(1, 6, 16)
    gradients = []
    for kernel in (sdpa, SlicedKernel(sdpa, 1)):
        attention.kernel = kernel
        attention.zero_grad()
        attention(x).square().sum().backward()
        gradients.append(attention.to_q.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


# --- xFormers ---


def test_xformers_computes_every_attention(pipe: Any, xformers: Ops) -> None:
    plain = draw(pipe)
    assert not xformers.asked
    pipe.enable_xformers_memory_efficient_attention()
    assert set().union(*kernels(pipe).values()) == {XFormersKernel()}
    xformers.asked.clear()
    torch.testing.assert_close(draw(pipe), plain)
    layers = sum(1 for _ in pipe.strategies.networks.modules_of(Attention, "unet"))
    assert len(xformers.asked) == 2 * layers + 1, "two steps, and the decoder's layer"
    pipe.disable_xformers_memory_efficient_attention()
    assert torch.equal(draw(pipe), plain)


def test_a_head_size_that_xformers_cannot_serve_keeps_the_fused_kernel(
    pipe: Any, xformers: Ops
) -> None:
    plain = draw(pipe)
    xformers.widest = max(a.head_dim for a in pipe.unet.modules() if isinstance(a, Attention))
    layer = next(a for a in pipe.vae.modules() if isinstance(a, PictureAttention))
    assert layer.head_dim > xformers.widest
    pipe.enable_xformers_memory_efficient_attention()
    assert layer.kernel is sdpa
    torch.testing.assert_close(draw(pipe), plain)
    refusals = XFormers().refusals(pipe.strategies.networks)
    assert [reason for reason in refusals.values() if reason is not None] == [
        f"xFormers cannot compute heads of {layer.head_dim} in float32 on cpu (No operator found "
        "for `memory_efficient_attention_forward` with inputs); torch's fused attention serves "
        "there."
    ]


def test_where_xformers_serves_nothing_it_says_so(pipe: Any, xformers: Ops) -> None:
    xformers.widest = 0
    with pytest.raises(StrategyError, match="xFormers cannot compute heads of") as caught:
        pipe.enable_xformers_memory_efficient_attention()
    assert not isinstance(caught.value, ImportError)


def test_without_the_package_it_says_what_to_install(
    pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xformers", None)
    sentence = pipe.strategies.obstacle(dpnb.XFormers())
    assert sentence is not None
    assert "dpnb[xformers]" in sentence
    with pytest.raises(ModuleNotFoundError, match=re.escape(sentence)) as caught:
        pipe.enable_xformers_memory_efficient_attention()
    assert isinstance(caught.value, dpnb.StrategyError)


def test_an_operator_passes_through(pipe: Any, xformers: Ops) -> None:
    op = xformers.MemoryEfficientAttentionFlashAttentionOp
    pipe.enable_xformers_memory_efficient_attention(attention_op=op)
    assert pipe.strategies.find(XFormers) == XFormers("MemoryEfficientAttentionFlashAttentionOp")
    xformers.asked.clear()
    draw(pipe)
    assert {id(call.op) for call in xformers.asked} == {id(op)}


def test_an_operator_of_elsewhere_is_refused(pipe: Any) -> None:
    with pytest.raises(ValueError, match="is no operator of xformers"):
        pipe.enable_xformers_memory_efficient_attention(attention_op=("mine",))


def test_slicing_wraps_no_kernel_of_xformers(pipe: Any) -> None:
    pipe.enable_attention_slicing(1)
    pipe.enable_xformers_memory_efficient_attention()
    assert set().union(*kernels(pipe).values()) == {XFormersKernel()}
    pipe.disable_xformers_memory_efficient_attention()
    assert set().union(*kernels(pipe).values()) == {SlicedKernel(sdpa, 1)}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_an_operator_is_tried_in_what_a_widened_autoencoder_computes_in(
    dtype: str, xformers: Ops
) -> None:
    """Flash attention refuses float32, and the autoencoder of XL is stored in half."""
    xformers.refused = torch.float32
    pipe = build("tiny-sdxl", dtype)
    pipe.enable_xformers_memory_efficient_attention()
    layer = next(a for a in pipe.vae.modules() if isinstance(a, PictureAttention))
    assert layer.kernel is sdpa
    assert {a.kernel for a in pipe.unet.modules() if isinstance(a, Attention)} == {XFormersKernel()}
    assert torch.isfinite(draw(pipe)).all()
    pipe.disable_xformers_memory_efficient_attention()
    xformers.refused = None
    pipe.enable_xformers_memory_efficient_attention()
    assert layer.kernel == XFormersKernel()


def test_an_autoencoder_that_is_never_widened_is_tried_in_its_own_dtype(xformers: Ops) -> None:
    xformers.refused = torch.float32
    pipe = build("tiny-sd", "bfloat16")
    pipe.vae.config = replace(pipe.vae.config, force_upcast=False)
    pipe.enable_xformers_memory_efficient_attention()
    layer = next(a for a in pipe.vae.modules() if isinstance(a, PictureAttention))
    assert layer.kernel == XFormersKernel()
