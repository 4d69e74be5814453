"""Low-rank weights in networks of diffusers: what its own `load_lora_weights` draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dpnb.strategies.lora import LoRA
from dpnb.strategies.placement import SequentialOffload
from dpnb.strategies.storage import LayerwiseCasting
from tests.strategies.foreign_owner import LINK, STUDIOS, Studio, load_adapter, random_adapter

pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ffn.net.2", "conv1", "w1", "linear")

DENOISERS = {"Stable Diffusion": "unet"}


@pytest.fixture(params=STUDIOS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def denoiser(name: str) -> str:
    return DENOISERS.get(name, "transformer")


def adapter(studio: Studio, component: str) -> dict[str, Tensor]:
    """Random low-rank weights for many layers of a network, as peft names them."""
    found = random_adapter(component, studio.pipe.components[component], LAYERS)
    assert len(found) > 12
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_draws_as_diffusers_does(name: str, dtype: torch.dtype) -> None:
    ours, theirs = STUDIOS[name](), STUDIOS[name]()
    component = denoiser(name)
    for studio in (ours, theirs):
        studio.cast(dtype)
    tensors = adapter(ours, component)
    plain = ours.draw("latent")
    assert torch.equal(theirs.draw("latent"), plain)
    theirs.pipe.load_lora_weights(dict(tensors))
    load_adapter(ours, tensors)
    ours.strategies.enable(LoRA())
    expected = theirs.draw("latent")
    change = (expected - plain).norm()
    assert change > 0.05 * plain.norm()
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    assert (ours.draw("latent") - expected).norm() < tolerance * change
    ours.strategies.disable(LoRA)
    assert torch.equal(ours.draw("latent"), plain)


@pytest.mark.parametrize("other", [LayerwiseCasting(), SequentialOffload(device=LINK)])
def test_an_adapter_goes_with_other_strategies(
    name: str, other: LayerwiseCasting | SequentialOffload
) -> None:
    studio = STUDIOS[name]()
    plain, before = studio.draw(), studio.values()
    load_adapter(studio, adapter(studio, denoiser(name)))
    with studio.strategies.using(LoRA()):
        drawn = studio.draw()
    with studio.strategies.using(LoRA(), other):
        is_exact = isinstance(other, SequentialOffload)
        torch.testing.assert_close(studio.draw(), drawn, rtol=0, atol=0 if is_exact else 0.3)
    assert torch.equal(studio.draw(), plain)
    assert all(torch.equal(value, before[key]) for key, value in studio.values().items())
