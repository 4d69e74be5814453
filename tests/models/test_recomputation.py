from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb


@pytest.fixture
def unet() -> Any:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    return pipe.unet.requires_grad_(True)


def compute_gradients(unet: Any) -> dict[str, Tensor]:
    inputs = torch.ones(1, 4, 8, 8), 5, torch.ones(1, 7, unet.config.cross_attention_dim)
    unet.zero_grad()
    unet(*inputs).sample.square().sum().backward()
    return {name: p.grad.clone() for name, p in unet.named_parameters() if p.grad is not None}


def test_gradients_stay_the_same(unet: Any) -> None:
    plain = compute_gradients(unet)
    unet.enable_gradient_checkpointing()
    assert unet.is_gradient_checkpointing
    again = compute_gradients(unet)
    assert again.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient)


def test_layers_compute_twice_while_it_is_on_and_once_afterwards(unet: Any) -> None:
    calls: list[int] = []
    unet.mid_block.resnets[0].conv1.register_forward_hook(lambda *_: calls.append(1))
    unet.enable_gradient_checkpointing()
    unet.enable_gradient_checkpointing()
    compute_gradients(unet)
    assert len(calls) == 2
    unet.disable_gradient_checkpointing()
    assert not unet.is_gradient_checkpointing
    compute_gradients(unet)
    assert len(calls) == 3


def test_a_function_of_ones_own_is_refused(unet: Any) -> None:
    with pytest.raises(ValueError, match="leave it out"):
        unet.enable_gradient_checkpointing(print)
