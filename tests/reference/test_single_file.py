"""diffusers reads the same weights from a file in the authors' layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from safetensors.torch import load_file

import dpnb
from tests.reference import checkpoints
from tests.reference.original_files import write_original


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_the_networks_are_theirs(family: str, tmp_path: Path) -> None:
    checkpoints.write(tmp_path / "folder", family)
    path, config = tmp_path / "all.safetensors", str(tmp_path / "folder")
    write_original(tmp_path / "folder", path)
    for name in ("UNet2DConditionModel", "AutoencoderKL"):
        part = "vae" if name == "AutoencoderKL" else "unet"
        kind = getattr(checkpoints.diffusers, name)
        theirs = kind.from_single_file(str(path), config=config, subfolder=part).state_dict()
        ours = getattr(dpnb, name).from_single_file(path, config=config).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())


def test_the_second_text_encoder_is_theirs(tmp_path: Path) -> None:
    checkpoints.write(tmp_path / "folder", "sdxl")
    path = tmp_path / "all.safetensors"
    write_original(tmp_path / "folder", path)
    pipe = dpnb.StableDiffusionXLPipeline.from_single_file(path, config=tmp_path / "folder")
    theirs = convert_open_clip_checkpoint(
        pipe.text_encoder_2, load_file(path), "conditioner.embedders.1.model."
    )
    ours = pipe.text_encoder_2.state_dict()
    assert {k.removeprefix("text_model.") for k in theirs} == {
        k.removeprefix("text_model.") for k in ours
    }
    for name, tensor in theirs.items():
        own = ours.get(name, ours.get(name.removeprefix("text_model.")))
        assert own is not None
        assert torch.equal(own, tensor)
