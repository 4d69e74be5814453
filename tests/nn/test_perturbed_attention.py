"""Attention in which every token sees itself alone."""

from __future__ import annotations

import pytest
import torch

from dpnb.nn.attention import Attention
from dpnb.nn.attention_kernels import sdpa
from dpnb.nn.perturbed_attention import find_self_attentions, perturb_attention
from tests.strategies.pipes import build


def test_a_token_sees_itself_alone() -> None:
    torch.manual_seed(0)
    attention, tokens = Attention(16, 2, 8), torch.randn(2, 5, 16)
    with perturb_attention([attention]):
        perturbed = attention(tokens)
    alone = torch.cat([attention(tokens[:, i : i + 1]) for i in range(5)], dim=1)
    torch.testing.assert_close(perturbed, alone)
    assert attention.kernel is sdpa


def test_kernels_come_back_after_an_error() -> None:
    attention = Attention(16, 2, 8)
    with pytest.raises(KeyError), perturb_attention([attention]):
        raise KeyError
    assert attention.kernel is sdpa


def test_layers_are_found_by_parts_of_their_names() -> None:
    unet = build("tiny-sd").unet
    middle = find_self_attentions(unet, ["mid"])
    assert middle == [unet.middle_attention]
    both = find_self_attentions(unet, ["up_blocks", "mid", "mid_block.attentions.0"])
    assert len(both) > len(middle)
    assert len(both) == len(set(both))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            "middle",
            r"no self-attention of UNet2DConditionModel is called 'middle'; it has some in ",
        ),
        ("attn2", "'attn2'; it has some in down_blocks.0, mid_block, up_blocks.1"),
        ("(", r"'\(' is no regular expression"),
    ],
)
def test_a_name_that_finds_none_is_refused(layer: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        find_self_attentions(build("tiny-sd").unet, [layer])
