from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig

import dpnb


@pytest.fixture
def unet() -> Any:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    return pipe.unet


@torch.no_grad()
def predict(unet: Any) -> torch.Tensor:
    context = torch.ones(1, 7, unet.config.cross_attention_dim)
    prediction: torch.Tensor = unet(torch.ones(1, 4, 8, 8), 5, context).sample
    return prediction


def test_layers_of_peft_compute_until_they_are_off(unet: Any) -> None:
    plain = predict(unet)
    config = LoraConfig(r=2, target_modules=["to_q", "to_out.0"], init_lora_weights=False)
    unet.add_adapter(config, "mine")
    assert unet.active_adapters() == ["mine"]
    changed = predict(unet)
    assert not torch.allclose(changed, plain)
    unet.disable_adapters()
    torch.testing.assert_close(predict(unet), plain)
    unet.enable_adapters()
    torch.testing.assert_close(predict(unet), changed)
    unet.delete_adapters("mine")
    torch.testing.assert_close(predict(unet), plain)


def test_names_are_known_and_new(unet: Any) -> None:
    config = LoraConfig(r=2, target_modules=["to_q"])
    unet.add_adapter(config)
    with pytest.raises(ValueError, match="already"):
        unet.add_adapter(config)
    with pytest.raises(ValueError, match="no adapter 'other'"):
        unet.set_adapter("other")


@pytest.mark.parametrize("call", ["load_lora_adapter", "save_lora_adapter"])
def test_adapters_are_the_pipelines(unet: Any, call: str) -> None:
    with pytest.raises(NotImplementedError, match=r"load_lora_weights\(...\), and train with peft"):
        getattr(unet, call)("a")
