from __future__ import annotations

import pytest
import torch

from dpnb.nn import attention_maps
from dpnb.nn.attention import Attention
from dpnb.nn.attention_maps import attention_received, record_attention


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    return Attention(12, heads=3, head_dim=4)


@pytest.mark.parametrize("at_once", [1, 3, 1024])
def test_what_is_received_is_the_sum_over_the_map(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_maps, "QUERIES_AT_ONCE", at_once)
    query, key = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 5, 4)
    whole = (query @ key.transpose(2, 3) / 2).softmax(dim=-1)
    received = attention_received(query, key)
    assert torch.allclose(received, whole.mean(dim=1).sum(dim=1), atol=1e-6)
    assert torch.allclose(received.sum(dim=1), torch.full((2,), 7.0))


def test_watching_changes_nothing_and_ends(attention: Attention) -> None:
    tokens, kernel = torch.randn(4, 6, 12), attention.kernel
    plain = attention(tokens)
    with record_attention(attention, 2) as seen:
        assert torch.equal(attention(tokens), plain)
    assert attention.kernel is kernel
    assert seen.received is not None
    assert seen.received.shape == (2, 6)
    with pytest.raises(ZeroDivisionError), record_attention(attention, 1):
        raise ZeroDivisionError
    assert attention.kernel is kernel
