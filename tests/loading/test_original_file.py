from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dpnb.errors import CheckpointError
from dpnb.loading import original_file
from dpnb.loading.hub import HubOptions
from dpnb.loading.original_file import OriginalFile

UNET = "model.diffusion_model."
CONTEXT = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.mark.parametrize(
    ("tensors", "settings"),
    [
        ({CONTEXT: torch.ones(2, 768)}, original_file.SD1),
        ({CONTEXT: torch.ones(2, 1024)}, original_file.SD2),
        ({f"{UNET}input_blocks.0.0.weight": torch.ones(2, 9, 1, 1)}, original_file.INPAINTING),
        ({"conditioner.embedders.1.model.ln_final.bias": torch.ones(1)}, original_file.XL),
        ({"double_blocks.0.img_attn.qkv.bias": torch.ones(1)}, original_file.FLUX_SCHNELL),
    ],
)
def test_tensors_say_which_family_they_are_of(tensors: dict[str, Tensor], settings: str) -> None:
    assert OriginalFile(Path("file"), tensors).usual_settings == settings


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="address on the hub"):
        OriginalFile.read(tmp_path / "none.safetensors", HubOptions(), dtype=None)
