from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.models.attention_processor import AttnProcessor, SeenAttention


class Plain:
    """Attention by its matrix, as users write it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, attn: SeenAttention, hidden_states: Tensor, encoder_hidden_states: Tensor | None
    ) -> Tensor:
        self.calls += 1
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(layer(tokens))
            for layer, tokens in (
                (attn.to_q, hidden_states),
                (attn.to_k, source),
                (attn.to_v, source),
            )
        )
        out = attn.batch_to_head_dim(attn.get_attention_scores(query, key) @ value)
        return attn.to_out[1](attn.to_out[0](out))  # type: ignore[no-any-return]


@torch.no_grad()
def predict(unet: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(1, 7, unet.config.cross_attention_dim, generator=generator)
    prediction: Tensor = unet(torch.ones(1, 4, 8, 8), 5, context).sample
    return prediction


@pytest.fixture
def unet() -> Any:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    return pipe.unet


def test_a_function_computes_attention_until_it_is_taken_back(unet: Any) -> None:
    plain, own = predict(unet), Plain()
    unet.set_attn_processor(own)
    torch.testing.assert_close(predict(unet), plain, atol=1e-4, rtol=1e-4)
    assert own.calls == len(unet.attn_processors)
    unet.set_default_attn_processor()
    assert torch.equal(predict(unet), plain)
    assert own.calls == len(unet.attn_processors)


def test_known_names_mean_what_is_computed_anyway(unet: Any) -> None:
    plain = predict(unet)
    unet.set_attn_processor({name: AttnProcessor() for name in unet.attn_processors})
    assert torch.equal(predict(unet), plain)


def test_a_copy_has_layers_of_its_own(unet: Any) -> None:
    unet.set_attn_processor(Plain())
    copied = deepcopy(unet)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.zero_()
    assert predict(copied).abs().max() > 0


def test_each_layer_needs_one(unet: Any) -> None:
    with pytest.raises(ValueError, match="1 processors are given"):
        unet.set_attn_processor({"down": AttnProcessor()})


def test_rotary_attention_is_not_replaced() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-flux")
    transformer = pipe.transformer
    with pytest.raises(ValueError, match="rotates queries"):
        transformer.set_attn_processor(Plain())
    transformer.set_attn_processor(AttnProcessor())
