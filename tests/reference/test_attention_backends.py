"""What a network chooses is its own: diffusers' report #14249, over both packages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models import attention_dispatch
from torch import nn

import dpnb
from dpnb.nn.attention import Attention
from dpnb.nn.attention_kernels import sdpa
from tests.strategies.test_attention_kernel import counted

SMALL = {
    "num_layers": 1,
    "num_single_layers": 1,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "axes_dims_rope": (4, 4, 8),
    "joint_attention_dim": 32,
    "pooled_projection_dim": 32,
    "in_channels": 4,
}
CHOICES = ("_native_math", "_native_flash", "native")


@pytest.fixture(autouse=True)
def fresh_registry() -> Iterator[None]:
    registry = attention_dispatch._AttentionBackendRegistry
    before = registry._active_backend
    yield
    registry.set_active_backend(before)


def operations_of(network: Any) -> dict[str, int]:
    """What the attention of a transformer of FLUX is computed by."""
    x, words = torch.zeros(1, 4, 4), torch.zeros(1, 3, 32)
    ids, word_ids = torch.zeros(4, 3), torch.zeros(3, 3)
    with counted() as counts:
        network(
            hidden_states=x,
            encoder_hidden_states=words,
            pooled_projections=torch.zeros(1, 32),
            timestep=torch.zeros(1),
            img_ids=ids,
            txt_ids=word_ids,
            guidance=None,
        )
    return {name: n for name, n in counts.items() if "attention" in name or "softmax" in name}


def failures(package: Any) -> int:
    """How often one network's choice changes how another one computes, or does not come back."""
    torch.manual_seed(0)
    one, other = (package.FluxTransformer2DModel(**SMALL).eval() for _ in range(2))
    plain, count = operations_of(other), 0
    for choice in CHOICES:
        one.set_attention_backend(choice)
        count += operations_of(other) != plain
        latest: nn.Module = package.FluxTransformer2DModel(**SMALL).eval()
        count += operations_of(latest) != plain
    one.reset_attention_backend()
    count += operations_of(one) != plain
    one.set_attention_backend("_native_math")
    count += operations_of(one) == plain
    one.reset_attention_backend()
    return count + (operations_of(other) != plain)


def test_a_choice_is_of_one_network() -> None:
    assert failures(dpnb) == 0
    assert failures(diffusers) > 0, "diffusers leaks no more: say so"


def test_no_global_of_anybody_is_changed() -> None:
    backends: Any = torch.backends.cuda
    flags: tuple[Any, ...] = (
        backends.flash_sdp_enabled,
        backends.math_sdp_enabled,
        backends.mem_efficient_sdp_enabled,
        backends.cudnn_sdp_enabled,
    )
    registry: Any = attention_dispatch._AttentionBackendRegistry
    before = [flag() for flag in flags], registry.get_active_backend()[0]
    pipe: Any = dpnb.random_pipeline("tiny-flux")
    pipe.set_progress_bar_config(disable=True)
    pipe.strategies.enable(dpnb.AttentionKernel("math"))
    pipe("a red fox", num_inference_steps=1, output_type="np")
    assert ([flag() for flag in flags], registry.get_active_backend()[0]) == before
    pipe.strategies.use([])
    assert {m.kernel for m in pipe.transformer.modules() if isinstance(m, Attention)} == {sdpa}
