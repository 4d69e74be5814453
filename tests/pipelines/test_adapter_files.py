from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dpnb
from dpnb import FluxPipeline, StableDiffusionPipeline

LAYERS = {"down.lora_A.weight": torch.ones(2, 3), "down.lora_B.weight": torch.ones(4, 2)}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    StableDiffusionPipeline.save_lora_weights(tmp_path, LAYERS)
    tensors, alphas = StableDiffusionPipeline.lora_state_dict(tmp_path)
    assert tensors.keys() == {f"unet.{name}" for name in LAYERS}
    assert alphas is None
    FluxPipeline.save_lora_weights(tmp_path, transformer_lora_layers=LAYERS)
    assert FluxPipeline.lora_state_dict(tmp_path).keys() == {f"transformer.{n}" for n in LAYERS}


def test_settings_are_noted_beside(tmp_path: Path) -> None:
    notes = {"r": 2, "lora_alpha": 4}
    StableDiffusionPipeline.save_lora_weights(
        tmp_path, unet_lora_layers=LAYERS, unet_lora_adapter_metadata=notes
    )
    _, _, found = StableDiffusionPipeline.lora_state_dict(tmp_path, return_lora_metadata=True)
    assert found["unet"].scale(("down",), 2) == 2.0


def test_another_process_writes(tmp_path: Path) -> None:
    StableDiffusionPipeline.save_lora_weights(tmp_path, LAYERS, is_main_process=False)
    assert not list(tmp_path.iterdir())


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="transformer_lora_layers"):
        StableDiffusionPipeline.save_lora_weights(tmp_path, transformer_lora_layers=LAYERS)
    with pytest.raises(ValueError, match="give one of them"):
        StableDiffusionPipeline.save_lora_weights(tmp_path)
    with pytest.raises(TypeError, match="no argument colour"):
        dpnb.random_pipeline("tiny-sd").load_lora_weights(LAYERS, colour=1)
