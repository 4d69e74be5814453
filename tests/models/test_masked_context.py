from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb


@pytest.fixture
def unet() -> Any:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    return pipe.unet


@torch.no_grad()
def test_what_is_masked_changes_nothing(unet: Any) -> None:
    sample, context = torch.ones(2, 4, 8, 8), torch.randn(2, 7, unet.config.cross_attention_dim)
    mask = torch.ones(2, 7)
    mask[0, 3:] = 0
    masked = unet(sample, 5, context, encoder_attention_mask=mask).sample
    other = torch.where(mask.bool()[..., None], context, 9.0)
    torch.testing.assert_close(masked, unet(sample, 5, other, encoder_attention_mask=mask).sample)
    plain = unet(sample, 5, context).sample
    torch.testing.assert_close(masked[1], plain[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(masked[0], plain[0])


def test_a_mask_fits_its_context(unet: Any) -> None:
    context = torch.ones(1, 7, unet.config.cross_attention_dim)
    for mask, words in ((torch.zeros(1, 7), "let one count"), (torch.zeros(1, 6), "shape")):
        with pytest.raises(ValueError, match=words):
            unet(torch.ones(1, 4, 8, 8), 5, context, encoder_attention_mask=mask)
