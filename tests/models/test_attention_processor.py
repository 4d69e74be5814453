from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from dpnb.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    XFormersAttnProcessor,
)
from dpnb.nn.attention_kernels import XFormersKernel
from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def test_a_processor_is_the_name_of_a_kernel(pipe: Any) -> None:
    unet = pipe.unet
    assert {*unet.attn_processors.values()} == {AttnProcessor2_0()}
    assert all(
        isinstance(unet.get_submodule(n.rpartition(".")[0]), nn.Module)
        for n in unet.attn_processors
    )
    unet.mid_block.attentions[0].transformer_blocks[0].attn1.kernel = XFormersKernel("cutlass")
    assert XFormersAttnProcessor("cutlass") in unet.attn_processors.values()
    unet.set_attn_processor(AttnProcessor())
    with pytest.raises(TypeError, match=r"object is code .* attach a pipeline that has it"):
        unet.set_attn_processor(object())
    first = next(iter(unet.attn_processors))
    with pytest.raises(TypeError, match="list is code"):
        unet.set_attn_processor({**unet.attn_processors, first: []})
    with pytest.raises(ValueError, match="all compute alike"):
        unet.set_attn_processor({**unet.attn_processors, first: XFormersAttnProcessor()})
    with pytest.raises(ValueError, match="names 0 attention layers where this network has"):
        unet.set_attn_processor({})
    with pytest.raises(ValueError, match=r'backend is \'flash\'; use "native"'):
        unet.set_attention_backend("flash")
