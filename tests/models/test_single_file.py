from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from tests.reference.original_files import write_original


def test_a_network_is_taken_out_of_the_file(tmp_path: Path) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.save_pretrained(tmp_path / "folder")
    path = tmp_path / "all.safetensors"
    write_original(tmp_path / "folder", path)
    unet = dpnb.UNet2DConditionModel.from_single_file(path, config=tmp_path / "folder")
    assert torch.equal(unet.conv_in.weight, pipe.unet.conv_in.weight)
    vae = dpnb.AutoencoderKL.from_single_file(
        path, config=tmp_path / "folder/vae", torch_dtype=torch.float16, scaling_factor=0.5
    )
    assert vae.dtype == torch.float16
    assert vae.config.scaling_factor == 0.5


def test_other_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="out of single files"):
        dpnb.VQModel.from_single_file("file.safetensors")
