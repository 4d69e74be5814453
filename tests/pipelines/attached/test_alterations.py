"""What somebody has changed at a component is never passed by without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

import dpnb
from dpnb import QKVFusion, StrategyError, VaeTiling
from dpnb.pipelines.attached.alterations import find_alteration
from tests.pipelines.attached.foreign import draw
from tests.reference.checkpoints import pipeline


class Louder:
    """Attention of somebody's own."""

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **named: Any) -> Tensor:
        computed: Tensor = AttnProcessor2_0()(attn, hidden_states, *args, **named)
        return computed * 1.1


def _patch(pipe: Any) -> None:
    own = pipe.unet.mid_block.forward
    pipe.unet.mid_block.forward = lambda *args, **named: own(*args, **named) * 1.1


def _replace_activation(pipe: Any) -> None:
    pipe.unet.conv_act = nn.ReLU()


def _hook_inside(pipe: Any) -> None:
    pipe.unet.mid_block.register_forward_hook(lambda _, __, output: output * 1.1)


ALTERATIONS: tuple[Callable[[Any], Any], ...] = (
    lambda pipe: pipe.unet.set_attn_processor(Louder()),
    lambda pipe: pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4),
    _patch,
    _replace_activation,
    _hook_inside,
)


@pytest.mark.parametrize("alter", ALTERATIONS)
def test_a_changed_component_is_not_exchanged(pipe: Any, alter: Callable[[Any], Any]) -> None:
    studio = dpnb.attach(pipe)
    alter(pipe)
    altered = draw(pipe)
    with pytest.raises(StrategyError, match=r"cannot stand for unet, which has .*; take that back"):
        studio.strategies.enable(QKVFusion())
    assert torch.equal(draw(pipe), altered)


def test_tiles_of_its_own_are_told_by_name(pipe: Any) -> None:
    pipe.vae.enable_tiling()
    with pytest.raises(StrategyError, match="vae, which has use_tiling of its own at itself"):
        dpnb.attach(pipe).strategies.enable(VaeTiling(16))


HARMLESS: tuple[Callable[[Any], Any], ...] = (
    lambda pipe: pipe.vae.enable_slicing(),
    lambda pipe: pipe.unet.set_attn_processor(AttnProcessor()),
    lambda pipe: pipe.enable_attention_slicing(1),
    lambda pipe: pipe.unet.enable_gradient_checkpointing(),
    lambda pipe: pipe.unet.requires_grad_(False),
)


@pytest.mark.parametrize("change", HARMLESS)
def test_what_computes_the_same_is_exchanged(pipe: Any, change: Callable[[Any], Any]) -> None:
    plain = draw(pipe)
    change(pipe)
    dpnb.attach(pipe).strategies.use([QKVFusion(), VaeTiling(16)])
    assert torch.allclose(draw(pipe), plain, atol=1e-4)


def test_hooks_around_a_network_are_called_while_another_stands_for_it(pipe: Any) -> None:
    def brighten(_: nn.Module, __: Any, output: tuple[Tensor]) -> tuple[Tensor]:
        return (output[0] * 1.1,)

    earlier = pipe.unet.register_forward_hook(brighten)
    studio, with_one = dpnb.attach(pipe), draw(pipe)
    studio.strategies.enable(QKVFusion())
    assert torch.allclose(draw(pipe), with_one, atol=1e-4)
    later = pipe.unet.register_forward_hook(brighten)
    with_two = draw(pipe)
    assert not torch.allclose(with_two, with_one, atol=1e-4)
    studio.detach()
    assert torch.allclose(draw(pipe), with_two, atol=1e-4)
    earlier.remove()
    later.remove()
    assert torch.equal(draw(pipe), draw(pipeline("sd1")))


def test_networks_of_all_kinds_are_as_their_classes_make_them(pipe: Any) -> None:
    draw(pipe)
    assert find_alteration(pipe.unet) is None
    assert find_alteration(pipe.vae) is None


def test_settings_that_change_are_looked_up_anew(pipe: Any) -> None:
    assert find_alteration(pipe.vae) is None
    pipe.vae.register_to_config(act_fn="relu")
    assert find_alteration(pipe.vae) == "SiLU as encoder.down_blocks.0.resnets.0.nonlinearity"
    pipe.vae.register_to_config(act_fn="silu")
    assert find_alteration(pipe.vae) is None
