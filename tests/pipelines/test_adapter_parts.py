from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from tests.strategies.pipes import adapter, build, draw

PARTS = [("tiny-sd", "unet"), ("tiny-flux", "transformer"), ("tiny-sd", "text_encoder")]


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_one_network_gets_what_is_for_it(name: str, part: str) -> None:
    pipe: Any = build(name)
    pipe.unload_lora_weights()
    plain, tensors = draw(pipe), adapter(pipe)
    own = {key: tensor for key, tensor in tensors.items() if key.startswith(f"{part}.")}
    pipe.load_lora_weights(own)
    whole = draw(pipe)
    assert not torch.equal(whole, plain)
    pipe.unload_lora_weights()
    load: Any = getattr(type(pipe), f"load_lora_into_{part}")
    network = getattr(pipe, part)
    load(tensors, None, network, adapter_name="a", _pipeline=pipe)
    assert pipe.get_list_adapters() == {part: ["a"]}
    assert torch.equal(draw(pipe), whole)
    with pytest.raises(ValueError, match="adapter 'a' already"):
        load(tensors, None, network, adapter_name="a")
    alphas = {key.replace("lora_A.weight", "alpha"): 0.0 for key in own if "lora_A" in key}
    load(tensors, alphas, network, adapter_name="a", hotswap=True)
    assert torch.equal(draw(pipe), plain)


def test_another_prefix_is_another_encoders() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sdxl")
    tensors = adapter(pipe)
    encoder = pipe.text_encoder_2
    pipe.load_lora_into_text_encoder(tensors, None, encoder, prefix="text_encoder_2")
    assert pipe.get_list_adapters() == {"text_encoder_2": ["default_0"]}
