from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

import dpnb
from dpnb.emoji.folder import build_scheduler, write


def test_a_model_that_is_written_comes_back(tmp_path: Path) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    weights = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    write(tmp_path, pipe.vae, pipe.unet, pipe.text_encoder, pipe.tokenizer)
    assert all(torch.equal(value, weights[name]) for name, value in pipe.unet.state_dict().items())
    again = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    assert type(again) is type(pipe)
    assert again.scheduler.config == pipe.scheduler.config == build_scheduler().config
    for name, network in pipe.parts().items():
        if isinstance(network, torch.nn.Module):
            for key, value in again.parts()[name].state_dict().items():
                assert torch.equal(value, network.state_dict()[key]), (name, key)


def test_weights_are_written_in_half_precision(tmp_path: Path) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", dtype=torch.float32)
    write(tmp_path, pipe.vae, pipe.unet, pipe.text_encoder, pipe.tokenizer)
    assert pipe.unet.conv_in.weight.dtype == torch.float32
    for file in tmp_path.rglob("*.safetensors"):
        assert {v.dtype for v in load_file(file).values() if v.is_floating_point()} == {torch.half}
