from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import CheckpointError
from tests.reference.original_files import write_original


@pytest.mark.parametrize("kind", ["tiny-sd", "tiny-sdxl"])
def test_a_file_holds_what_a_folder_holds(kind: str, tmp_path: Path) -> None:
    pipe: Any = dpnb.random_pipeline(kind)
    pipe.save_pretrained(tmp_path / "folder")
    write_original(tmp_path / "folder", tmp_path / "all.safetensors")
    again = type(pipe).from_single_file(tmp_path / "all.safetensors", config=tmp_path / "folder")
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            own = getattr(again, name).state_dict()
            assert all(torch.equal(own[k], v) for k, v in part.state_dict().items()), name
    arguments = {"num_inference_steps": 1, "output_type": "np"}
    pictures = [
        p("a cat", generator=torch.Generator().manual_seed(0), **arguments).images
        for p in (pipe, again)
    ]
    assert (pictures[0] == pictures[1]).all()


def test_what_the_file_lacks_is_passed(tmp_path: Path) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.save_pretrained(tmp_path / "folder")
    write_original(tmp_path / "folder", tmp_path / "all.safetensors")
    from safetensors.torch import load_file, save_file

    tensors = load_file(tmp_path / "all.safetensors")
    kept = {name: t for name, t in tensors.items() if not name.startswith("first_stage")}
    save_file(kept, tmp_path / "some.safetensors")
    file, config = tmp_path / "some.safetensors", tmp_path / "folder"
    with pytest.raises(CheckpointError, match="pass it as vae"):
        dpnb.StableDiffusionPipeline.from_single_file(file, config=config)
    again = dpnb.StableDiffusionPipeline.from_single_file(file, config=config, vae=pipe.vae)
    assert again.vae is pipe.vae


def test_other_forms_of_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give config"):
        dpnb.StableDiffusionPipeline.from_single_file("file.ckpt", original_config="v1.yaml")
