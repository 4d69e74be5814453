from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file

import dpnb
from dpnb.errors import CheckpointError
from tests.strategies.pipes import adapter


@pytest.fixture
def unet() -> Any:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    return pipe.unet


@torch.no_grad()
def predict(unet: Any, scale: float | None = None) -> torch.Tensor:
    context = torch.ones(1, 7, unet.config.cross_attention_dim)
    asked = None if scale is None else {"scale": scale}
    prediction: torch.Tensor = unet(
        torch.ones(1, 4, 8, 8), 5, context, cross_attention_kwargs=asked
    ).sample
    return prediction


def trained(unet: Any, **settings: Any) -> torch.Tensor:
    """What it predicts with layers of peft."""
    config = LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False, **settings)
    unet.add_adapter(config, "mine")
    return predict(unet)


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
    assert torch.equal(predict(unet), plain)
    assert "peft_config" not in vars(unet)


def test_names_are_known_and_new(unet: Any) -> None:
    config = LoraConfig(r=2, target_modules=["to_q"])
    unet.add_adapter(config)
    with pytest.raises(ValueError, match="already"):
        unet.add_adapter(config)
    with pytest.raises(ValueError, match="no adapter 'other'"):
        unet.set_adapter("other")
    unet.load_lora_adapter(of_unet(unet), adapter_name="loaded")
    with pytest.raises(ValueError, match="already"):
        unet.add_adapter(config, "loaded")
    with pytest.raises(ValueError, match="adapter 'loaded' already"):
        unet.load_lora_adapter(of_unet(unet), adapter_name="loaded")
    unet.add_adapter(config, "second")
    unet.set_adapter(["default", "second"])
    assert unet.active_adapters()[1:] == ["default", "second"]


def of_unet(unet: Any) -> dict[str, torch.Tensor]:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    tensors = adapter(pipe).items()
    return {name: tensor for name, tensor in tensors if name.startswith("unet.")}


def test_a_calls_scale_is_that_of_the_layers(unet: Any) -> None:
    plain, whole = predict(unet), trained(unet)
    assert torch.equal(predict(unet, 1.0), whole)
    torch.testing.assert_close(predict(unet, 0.0), plain)
    half = predict(unet, 0.5)
    assert not torch.equal(half, whole)
    assert torch.equal(predict(unet), whole)
    unet.set_adapters("mine", 0.5)
    assert torch.equal(predict(unet), half)


def test_a_call_cannot_scale_what_was_loaded(unet: Any) -> None:
    assert torch.equal(predict(unet, 0.5), predict(unet))
    unet.load_lora_adapter(of_unet(unet))
    assert torch.equal(predict(unet, 1.0), predict(unet))
    with pytest.raises(ValueError, match=r"asks for scale: .* part of the network.* dpnb\.LoRA"):
        predict(unet, 0.5)
    with pytest.raises(TypeError, match="scale"):
        predict(unet, "half")  # type: ignore[arg-type]


@pytest.mark.parametrize("is_safe", [True, False])
def test_layers_are_saved_and_loaded_with_their_scales(
    unet: Any, is_safe: bool, tmp_path: Path
) -> None:
    plain, whole = predict(unet), trained(unet, lora_alpha=2)
    unet.save_lora_adapter(tmp_path, "mine", safe_serialization=is_safe)
    unet.unload_lora()
    assert torch.equal(predict(unet), plain)
    unet.load_lora_adapter(tmp_path)
    assert unet.active_adapters() == ["default_0"]
    torch.testing.assert_close(predict(unet), whole)
    unet.unload_lora()
    unet.load_attn_procs(tmp_path)
    torch.testing.assert_close(predict(unet), whole)


def test_layers_are_saved_as_asked(unet: Any, tmp_path: Path) -> None:
    trained(unet)
    unet.to(torch.bfloat16)
    for upcast, name in ((True, "wide.safetensors"), (False, "narrow.safetensors")):
        unet.save_lora_adapter(tmp_path, "mine", upcast, weight_name=name)
        dtypes = {tensor.dtype for tensor in load_file(tmp_path / name).values()}
        assert dtypes == {torch.float32 if upcast else torch.bfloat16}
    with pytest.raises(ValueError, match=r"name other not found in the model\. .* there are mine"):
        unet.save_lora_adapter(tmp_path, "other")
    with pytest.raises(ValueError, match="write layers of peft with save_lora_adapter"):
        unet.save_attn_procs(tmp_path)


def test_what_belongs_to_others_is_left_out(unet: Any) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    unet.load_lora_adapter(adapter(pipe))
    whole = predict(unet)
    unet.unload_lora()
    own = of_unet(unet)
    renamed = {f"net.{name.removeprefix('unet.')}": tensor for name, tensor in own.items()}
    unet.load_lora_adapter({**renamed, "rest.x.lora_A.weight": torch.ones(1, 1)}, prefix="net")
    assert torch.equal(predict(unet), whole)
    unet.unload_lora()
    alphas = {name.replace("lora_A.weight", "alpha"): 1.0 for name in own if "lora_A" in name}
    unet.load_lora_adapter(own, network_alphas=alphas)
    half = predict(unet)
    assert not torch.equal(half, whole)
    unet.unload_lora()
    unet.load_lora_adapter(own, metadata={"unet.r": 2, "unet.lora_alpha": 1})
    assert torch.equal(predict(unet), half)
    with pytest.raises(CheckpointError, match=r"name begins with 'none\.'; leave prefix= out"):
        unet.load_lora_adapter(own, prefix="none")


def test_a_networks_adapters_are_its_pipelines() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.unet.load_lora_adapter(of_unet(pipe.unet), adapter_name="a")
    assert pipe.get_list_adapters() == {"unet": ["a"]}
    whole = predict(pipe.unet)
    other = {name: -tensor for name, tensor in of_unet(pipe.unet).items() if "lora_A" in name}
    pipe.unet.load_lora_adapter(of_unet(pipe.unet) | other, adapter_name="a", hotswap=True)
    assert not torch.equal(predict(pipe.unet), whole)
    pipe.unet.set_adapters("a", {"down": 0.0, "mid": 0.0, "up": 0.0})
    flat = predict(pipe.unet)
    pipe.unload_lora_weights()
    torch.testing.assert_close(predict(pipe.unet), flat)
