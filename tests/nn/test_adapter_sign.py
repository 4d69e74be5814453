"""What tells peft that low-rank weights of a file are on."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from tests.strategies.pipes import adapter, build, draw

pytestmark = pytest.mark.exhaustive


def has_layers_of_peft(network: nn.Module) -> bool:
    return any(isinstance(layer, BaseTunerLayer) for layer in network.modules())


def test_peft_finds_a_layer_while_what_was_loaded_is_on() -> None:
    pipe = build("tiny-sd")
    names = list(pipe.unet.state_dict())
    assert not has_layers_of_peft(pipe.unet)
    pipe.load_lora_weights(adapter(pipe))
    assert has_layers_of_peft(pipe.unet)
    assert list(pipe.unet.state_dict()) == names
    with pipe.strategies.suspended():
        assert not has_layers_of_peft(pipe.unet)
    pipe.unload_lora_weights()
    assert not has_layers_of_peft(pipe.unet)


def test_layers_of_peft_are_put_in_beside_it() -> None:
    pipe = build("tiny-sd")
    plain = draw(pipe)
    pipe.load_lora_weights(adapter(pipe), "file")
    styled = draw(pipe)
    config = LoraConfig(r=2, target_modules=["to_q", "q_proj"], init_lora_weights=False)
    inject_adapter_in_model(config, pipe.text_encoder, "mine")
    pipe.unet.add_adapter(config, "mine")
    pipe.unet.set_adapter("mine")
    assert pipe.get_active_adapters() == ["file", "mine"]
    assert not torch.equal(draw(pipe), styled)
    pipe.delete_adapters("mine")
    assert torch.equal(draw(pipe), styled)
    pipe.unload_lora_weights()
    assert torch.equal(draw(pipe), plain)
