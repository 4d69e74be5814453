"""Pictures without words beside diffusers: the network, its files, a repository's pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import dpnb
from dpnb.models.unet_2d import UNet2DModel
from tests.hub_server import HubServer
from tests.models.test_unet_2d import SMALL

CODE = """
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput

class UnconditionalPipeline(DiffusionPipeline):
    def __init__(self, unet, scheduler):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, generator, num_inference_steps=3):
        side = self.unet.config.sample_size
        image = torch.randn((1, self.unet.config.in_channels, side, side), generator=generator)
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.scheduler.timesteps:
            prediction = self.unet(image, t).sample
            image = self.scheduler.step(prediction, t, image, generator=generator).prev_sample
        return ImagePipelineOutput(images=image)
"""

SHAPES: dict[str, dict[str, Any]] = {
    "heads": {},
    "one head": {"attention_head_dim": None},
    "as of 2020": {
        "attention_head_dim": None,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
        "layers_per_block": 2,
        "center_input_sample": True,
    },
}


@pytest.fixture(params=list(SHAPES))
def theirs(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return diffusers.UNet2DModel(**{**SMALL, **SHAPES[request.param]}).eval()


def test_the_prediction_is_the_same(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    ours: Any = UNet2DModel.from_pretrained(tmp_path)
    noise = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for t in (0, 999, torch.tensor([3, 500])):
            assert torch.allclose(ours(noise, t).sample, theirs(noise, t).sample, atol=1e-5)
    ours.save_pretrained(tmp_path / "again")
    again = diffusers.UNet2DModel.from_pretrained(tmp_path / "again")
    assert all(torch.equal(again.state_dict()[k], v) for k, v in theirs.state_dict().items())


def test_a_pipeline_of_a_repository_draws_the_same(
    theirs: Any, hub: HubServer, tmp_path: Path
) -> None:
    pipe = diffusers.DDPMPipeline(unet=theirs, scheduler=diffusers.DDPMScheduler())
    pipe.save_pretrained(tmp_path / "nested")
    files = {
        path.name: path.read_bytes() for path in (tmp_path / "nested").rglob("*") if path.is_file()
    }
    hub.add("someone/pictures", files)
    hub.add("someone/code", {"pipeline.py": CODE.encode()})
    loaded = dpnb.DiffusionPipeline.from_pretrained(
        "someone/pictures",
        custom_pipeline="someone/code",
        cache_dir=tmp_path / "cache",
        use_safetensors=True,
        trust_remote_code=True,
    )
    (tmp_path / "pipeline.py").write_text(CODE)
    reference = diffusers.DiffusionPipeline.from_pretrained(
        tmp_path / "nested", custom_pipeline=str(tmp_path / "pipeline.py"), trust_remote_code=True
    )
    drawn = [one(generator=torch.Generator().manual_seed(0)).images for one in (loaded, reference)]
    assert torch.allclose(*drawn, atol=1e-4)  # type: ignore[misc]
