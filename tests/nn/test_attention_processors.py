from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dpnb.models import attention_processor
from dpnb.models.attention_processor import AttnProcessor, AttnProcessor2_0, XFormersAttnProcessor
from dpnb.nn.attention_kernels import XFormersKernel, plain_attention, sdpa
from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def find_attention(unet: Any) -> Any:
    return unet.mid_block.attentions[0].transformer_blocks[0].attn1


def test_attention_written_out_is_attention() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 9, 8), torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8)
    torch.testing.assert_close(plain_attention(query, key, value), sdpa(query, key, value))


def test_a_processor_is_the_name_of_a_kernel(pipe: Any) -> None:
    unet = pipe.unet
    assert {*unet.attn_processors.values()} == {AttnProcessor2_0()}
    assert all(
        isinstance(unet.get_submodule(n.rpartition(".")[0]), nn.Module)
        for n in unet.attn_processors
    )
    find_attention(unet).kernel = XFormersKernel("cutlass")
    assert XFormersAttnProcessor("cutlass") in unet.attn_processors.values()
    unet.set_attn_processor(AttnProcessor())
    assert {*unet.attn_processors.values()} == {AttnProcessor()}
    assert find_attention(unet).kernel is plain_attention
    unet.reset_attention_backend()
    assert find_attention(unet).kernel is sdpa
    unet.set_default_attn_processor()
    assert unet.attn_processors == dict.fromkeys(unet.attn_processors, AttnProcessor())
    assert {*pipe.vae.attn_processors.values()} == {AttnProcessor2_0()}


def test_processors_that_do_not_serve_are_refused(pipe: Any) -> None:
    unet = pipe.unet
    with pytest.raises(TypeError, match=r"object is code .* attach a pipeline that has it"):
        unet.set_attn_processor(object())
    first = next(iter(unet.attn_processors))
    with pytest.raises(TypeError, match="list is code"):
        unet.set_attn_processor({**unet.attn_processors, first: []})
    with pytest.raises(ValueError, match="layers of a network alike"):
        unet.set_attn_processor({**unet.attn_processors, first: XFormersAttnProcessor()})
    with pytest.raises(ValueError, match="The number of processors is 0, and they must name"):
        unet.set_attn_processor({})
    with pytest.raises(ValueError, match=r'backend is \'fast\'; use "native"'):
        unet.set_attention_backend("fast")
    assert {*unet.attn_processors.values()} == {AttnProcessor2_0()}


def test_what_is_switched_on_goes_over_a_processor_and_off_again(pipe: Any) -> None:
    unet = pipe.unet
    unet.set_attention_slice("max")
    unet.set_attn_processor(AttnProcessor())
    layer = find_attention(unet)
    assert layer.kernel.inner is plain_attention
    assert layer.processor == AttnProcessor()
    unet.set_attention_slice(None)
    assert layer.kernel is plain_attention


def test_one_layer_may_compute_otherwise_than_the_rest(pipe: Any) -> None:
    unet = pipe.unet
    find_attention(unet).set_processor(AttnProcessor())
    assert find_attention(unet).get_processor() == AttnProcessor()
    mixed = unet.attn_processors
    assert len({*mixed.values()}) == 2
    unet.set_attn_processor(AttnProcessor2_0())
    unet.set_attn_processor(mixed)
    assert unet.attn_processors == mixed
    with pytest.raises(ValueError, match="slices and xFormers are for whole networks"):
        find_attention(unet).set_processor(XFormersAttnProcessor())
    unet.set_attention_slice("max")
    with pytest.raises(ValueError, match=r"set_attention_slice\(None\) to end slices"):
        find_attention(unet).set_processor(AttnProcessor())


def test_names_of_elsewhere_have_kernels_too() -> None:
    assert attention_processor.FluxAttnProcessor2_0 is AttnProcessor2_0
    with pytest.raises(ImportError, match="set_attention_slice"):
        _ = attention_processor.SlicedAttnProcessor
