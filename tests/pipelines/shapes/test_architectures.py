from __future__ import annotations

import pytest
import torch

import dpnb
from dpnb.pipelines.shapes.architectures import ARCHITECTURES


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_random_architectures_are_the_same_for_the_same_seed(dtype: torch.dtype) -> None:
    one, other, third = (
        dpnb.random_pipeline("tiny-sd", dtype=dtype, seed=seed) for seed in (1, 1, 2)
    )
    assert one.dtype is dtype
    first, second, differing = (pipe.components["unet"] for pipe in (one, other, third))
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.conv_in.weight, differing.conv_in.weight)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="'sd9' is not an architecture; use one of sd15, sd21"):
        dpnb.random_pipeline("sd9")


@pytest.mark.parametrize(("name", "millions"), [("sd15", 859.5), ("sd21", 865.9), ("sdxl", 2567.5)])
def test_public_architectures_have_their_published_size(name: str, millions: float) -> None:
    with torch.device("meta"):
        unet = dpnb.UNet2DConditionModel(**ARCHITECTURES[name].unet)
        vae = dpnb.AutoencoderKL(**ARCHITECTURES[name].vae)
    assert sum(p.numel() for p in unet.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    assert sum(p.numel() for p in vae.parameters()) / 1e6 == pytest.approx(83.65, abs=0.01)
