"""Files of low-rank weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

import dpnb
from dpnb.errors import CheckpointError
from tests.strategies.pipes import build, draw

KEY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def layers(pipe: Any) -> dict[str, Tensor]:
    rows, columns = pipe.unet.get_submodule(KEY).weight.shape
    return {
        f"{KEY}.lora_A.weight": torch.ones(2, columns),
        f"{KEY}.lora_B.weight": torch.ones(rows, 2),
    }


@pytest.mark.parametrize(
    ("pipeline", "names"),
    [
        (dpnb.StableDiffusionImg2ImgPipeline, ["unet", "text_encoder"]),
        (dpnb.StableDiffusionXLInpaintPipeline, ["unet", "text_encoder", "text_encoder_2"]),
        (dpnb.FluxFillPipeline, ["transformer", "text_encoder"]),
    ],
)
def test_a_class_tells_what_files_change(pipeline: Any, names: list[str]) -> None:
    assert pipeline._lora_loadable_modules == names
    assert getattr(pipeline, f"{names[0]}_name") == names[0]
    assert pipeline.text_encoder_name == names[1]


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_what_is_saved_loads(pipe: Any, suffix: str, tmp_path: Path) -> None:
    plain = draw(pipe)
    is_safe = suffix == "safetensors"
    pipe.save_lora_weights(tmp_path, layers(pipe), safe_serialization=is_safe)
    assert [path.name for path in tmp_path.iterdir()] == [f"pytorch_lora_weights.{suffix}"]
    pipe.load_lora_weights(tmp_path)
    assert not torch.equal(draw(pipe), plain)


def test_what_a_trainer_noted_is_saved(pipe: Any, tmp_path: Path) -> None:
    noted = {"r": 2, "lora_alpha": 4, "target_modules": {"to_q"}}
    pipe.save_lora_weights(
        tmp_path, unet_lora_layers=layers(pipe), unet_lora_adapter_metadata=noted
    )
    with safe_open(tmp_path / "pytorch_lora_weights.safetensors", "pt") as file:
        assert '"unet.lora_alpha": 4' in file.metadata()["lora_adapter_metadata"]
    pipe.load_lora_weights(tmp_path)
    change = pipe.unet.dpnb_attachment.adapters["default_0"][f"{KEY}.weight"]
    assert change.scale == 2.0


def test_tensors_and_scales_are_read_apart(pipe: Any, tmp_path: Path) -> None:
    tensors = {f"unet.{name}": value for name, value in layers(pipe).items()}
    given = {**tensors, f"unet.{KEY}.alpha": torch.tensor(3.0)}
    found, alphas = dpnb.StableDiffusionPipeline.lora_state_dict(given)
    assert found.keys() == tensors.keys()
    assert alphas == {f"unet.{KEY}.alpha": 3.0}
    assert dpnb.FluxPipeline.lora_state_dict(given).keys() == given.keys()


def test_one_component_of_several(pipe: Any) -> None:
    tensors = {f"unet.{name}": value for name, value in layers(pipe).items()}
    pipe.load_lora_weights(tensors, prefix="unet")
    with pytest.raises(CheckpointError, match=r"name begins with .text_encoder\.."):
        pipe.load_lora_weights(tensors, prefix="text_encoder", adapter_name="b")


def test_what_cannot_be_saved(pipe: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no weights to save; give unet_lora_layers"):
        pipe.save_lora_weights(tmp_path)
    with pytest.raises(TypeError, match="no argument vae_lora_layers; it has unet_lora_layers"):
        pipe.save_lora_weights(tmp_path, vae_lora_layers=layers(pipe))
    with pytest.raises(ValueError, match="save_function is not called here"):
        pipe.save_lora_weights(tmp_path, layers(pipe), save_function=print)
    pipe.save_lora_weights(tmp_path, layers(pipe), is_main_process=False)
    assert list(tmp_path.iterdir()) == []


def test_adapters_come_to_where_networks_compute(pipe: Any) -> None:
    pipe.load_lora_weights({f"unet.{name}": value for name, value in layers(pipe).items()})
    before = draw(pipe)
    pipe.set_lora_device(["default_0"], "cpu")
    assert torch.equal(draw(pipe), before)
    with pytest.raises(ValueError, match="nowhere"):
        pipe.set_lora_device(["default_0"], "nowhere")
