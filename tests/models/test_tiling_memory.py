"""What tiling saves at Stable Diffusion's shape: exact live bytes, on tensors without values."""

from __future__ import annotations

from functools import cache
from typing import Literal

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dpnb import AutoencoderKL
from dpnb.metering.tensors import TensorMeter
from dpnb.models.coders import Coder, DirectCoder, SlicedCoder, TiledCoder
from dpnb.pipelines.shapes.architectures import ARCHITECTURES

MIB = 1 << 20
Way = Literal["decode", "encode"]


@cache
def peak(
    coder: Coder, height: int, width: int, way: Way = "decode", dtype: torch.dtype = torch.float32
) -> int:
    """The most live bytes at once that a picture of this size needs beside the weights."""
    default = torch.get_default_dtype()
    with FakeTensorMode():
        torch.set_default_dtype(dtype)
        try:
            vae = AutoencoderKL(**ARCHITECTURES["sd15"].vae).eval()
        finally:
            torch.set_default_dtype(default)
        shape = (4, height // 8, width // 8) if way == "decode" else (3, height, width)
        given = torch.empty(1, *shape, dtype=dtype)
        with torch.no_grad(), TensorMeter() as meter:
            getattr(coder, way)(vae, given)
    return int(meter.peak)


@pytest.mark.slow
def test_a_large_picture_needs_less_than_half() -> None:
    assert peak(TiledCoder(), 1024, 1024) <= 0.45 * peak(DirectCoder(), 1024, 1024)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "share"), [("decode", 0.5), ("encode", 0.6)])
def test_a_middling_picture_needs_half(way: Way, share: float) -> None:
    assert peak(TiledCoder(), 256, 256, way) <= share * peak(DirectCoder(), 256, 256, way)


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", ["decode", "encode"])
def test_even_a_small_picture_needs_less(way: Way) -> None:
    assert peak(TiledCoder(), 64, 64, way) <= 0.8 * peak(DirectCoder(), 64, 64, way)


@pytest.mark.slow
def test_what_is_spilled_leaves_a_few_strips() -> None:
    coder = TiledCoder(64, spill=True)
    assert peak(coder, 1024, 1024, dtype=torch.bfloat16) <= 128 * MIB
    assert coder.store.current == 0
    assert 512 * MIB <= coder.store.peak <= 600 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("way", ["decode", "encode"])
def test_height_costs_keys_values_and_the_picture_alone(way: Way) -> None:
    low, high = (peak(TiledCoder(16, spill=True), height, 128, way) for height in (128, 256))
    latents, pixels = 16 * 16, 128 * 128
    assert 0 <= high - low <= 4 * (2 * 512 * latents + 3 * pixels)


@pytest.mark.slow
def test_twice_the_side_needs_little_more_than_twice_the_memory() -> None:
    small, large = (peak(TiledCoder(32, spill=True), side, side) for side in (256, 512))
    assert large <= 2.6 * small


def test_blended_tiles_need_a_quarter_at_most() -> None:
    assert peak(TiledCoder(blended=True), 1024, 1024) <= 0.26 * peak(DirectCoder(), 1024, 1024)


@pytest.mark.slow
def test_tensors_without_values_need_as_much_as_real_ones() -> None:
    settings = dict(ARCHITECTURES["tiny-sd"].vae)
    for coder in (TiledCoder(4), TiledCoder(4, spill=True), SlicedCoder(TiledCoder(4))):
        counts = []
        for mode in (FakeTensorMode(), torch.no_grad()):
            with mode, torch.no_grad():
                vae, z = AutoencoderKL(**settings).eval(), torch.empty(2, 4, 8, 8)
                with TensorMeter() as meter:
                    coder.decode(vae, z)
            counts.append(meter.peak)
        assert counts[0] == counts[1]
