"""Live activation bytes beside diffusers': exact counts, on tensors without values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from tests.reference.checkpoints import diffusers

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def peak(call: Callable[[], Any]) -> int:
    """The most live bytes at once that `call` adds."""
    with torch.no_grad(), TensorMeter() as meter:
        call()
    return int(meter.peak)


def unet_peak(library: Any, settings: Any, side: int) -> int:
    """Of one step with a batch of two."""
    network = library.UNet2DConditionModel(**settings).eval()
    context = torch.empty(2, 77, settings["cross_attention_dim"])
    x, t = torch.empty(2, 4, side, side), torch.empty(())
    return peak(lambda: network(x, t, context))


def decode_peak(library: Any, settings: Any, side: int) -> int:
    """Of one decode of one picture."""
    network = library.AutoencoderKL(**settings).eval()
    z = torch.empty(1, 4, side, side)
    return peak(lambda: network.decode(z))


def flux_peak(library: Any, side: int) -> int:
    """Of one step with one picture; every block needs as much."""
    short = {"num_layers": 1, "num_single_layers": 1}
    settings = {**ARCHITECTURES["flux-dev"].transformer, **short}
    network = library.FluxTransformer2DModel(**settings).eval()
    given = {
        "hidden_states": torch.empty(1, side * side, 64),
        "encoder_hidden_states": torch.empty(1, 512, 4096),
        "pooled_projections": torch.empty(1, 768),
        "timestep": torch.empty(1),
        "guidance": torch.empty(1),
        "img_ids": torch.empty(side * side, 3),
        "txt_ids": torch.empty(512, 3),
    }
    return peak(lambda: network(**given))


def test_a_step_of_flux_needs_half_at_a_thousand_pixels() -> None:
    with FakeTensorMode():
        counts = [flux_peak(lib, 64) for lib in (dpnb, diffusers)]
    assert 0 < counts[0] <= 0.5 * counts[1]


@pytest.mark.parametrize("side", [64, 128])
def test_a_unet_step_needs_at_most_seven_tenths(side: int) -> None:
    with FakeTensorMode():
        counts = [unet_peak(lib, ARCHITECTURES["sd15"].unet, side) for lib in (dpnb, diffusers)]
    assert 0 < counts[0] <= 0.7 * counts[1]


@pytest.mark.parametrize("side", [64, 128])
def test_a_decode_needs_no_more(side: int) -> None:
    with FakeTensorMode():
        counts = [decode_peak(lib, ARCHITECTURES["sd15"].vae, side) for lib in (dpnb, diffusers)]
    assert 0 < counts[0] <= counts[1]


def test_tensors_without_values_need_as_much_as_real_ones() -> None:
    tiny = ARCHITECTURES["tiny-sd"]
    real = unet_peak(dpnb, tiny.unet, 16), decode_peak(dpnb, tiny.vae, 16)
    with FakeTensorMode():
        fake = unet_peak(dpnb, tiny.unet, 16), decode_peak(dpnb, tiny.vae, 16)
    assert fake == real
