from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.storage import STORAGE_DTYPES, LayerwiseCasting
from tests.strategies.foreign_owner import LINK, STUDIOS, PartsStack, Studio, noise

SMALL = torch.float8_e4m3fn

Read = Callable[[nn.Linear, Tensor], Tensor]

READS: dict[str, Read] = {
    "casts its input": lambda layer, x: layer(x.to(layer.weight.dtype)),
    "casts by the first parameter": lambda layer, x: layer(x.to(next(layer.parameters()).dtype)),
    "casts to the weight": lambda layer, x: layer(x.to(layer.weight)),
    "multiplies": lambda layer, x: x @ layer.weight.T,
    "names the weight": lambda layer, x: F.linear(x, weight=layer.weight, bias=layer.bias),
    "joins weights": lambda layer, x: F.linear(x, torch.cat([layer.weight, layer.weight])),
    "makes a vector like it": lambda layer, x: layer(x + layer.weight.new_ones(64)),
    "measures it": lambda layer, x: layer(x) * layer.weight.shape[0] * layer.weight.numel(),
    "calls it": lambda layer, x: layer(x),
}


class Reading(nn.Module):
    """A network of nobody's, which reads the weight of a layer within."""

    def __init__(self, read: Read) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(64, 64)
        self.block = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64, bias=False))
        self.read = read

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 64]`."""
        layer = self.block[0]
        assert isinstance(layer, nn.Linear)
        return self.read(layer, self.first(x))


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_code_reads_weights_as_if_they_were_wide(name: str, dtype: torch.dtype) -> None:
    network = Reading(READS[name]).to(dtype)
    rounded = Reading(READS[name]).to(dtype)
    weight = rounded.block[0].get_parameter("weight")
    weight.data = weight.data.to(SMALL).to(dtype)
    strategies = PartsStack(unet=network)
    x = noise(3, 64).to(dtype)
    plain = network(x)
    with strategies.using(LayerwiseCasting()):
        assert network.block[0].weight.dtype == SMALL
        assert torch.equal(network(x), rounded(x))
        assert network.block[0].weight.dtype == SMALL
    assert torch.equal(network(x), plain)
    assert "forward" not in vars(network)


def test_weights_are_widened_by_nobody_else() -> None:
    network = Reading(READS["calls it"])
    with PartsStack(unet=network).using(LayerwiseCasting()):
        network(noise(3, 64))
        with pytest.raises(RuntimeError):
            network.block[0].get_parameter("weight") @ noise(64, 3)


# --- whole pipelines ---


@pytest.fixture(params=STUDIOS)
def studio(request: pytest.FixtureRequest) -> Studio:
    return STUDIOS[request.param]()


def round_as_stored(studio: Studio, dtype: torch.dtype) -> None:
    """Give the weights that are stored small the values that they have then, for good."""
    with studio.strategies.using(LayerwiseCasting(str(dtype)[6:])):
        small = {p: p.data.clone() for p in parameters(studio) if p.dtype == dtype}
    assert len(small) > 5
    for parameter, values in small.items():
        parameter.data = values.to(parameter.dtype)


def parameters(studio: Studio) -> list[nn.Parameter]:
    networks = [network for _, network in studio.strategies.networks.items()]
    return [parameter for network in networks for parameter in network.parameters()]


@pytest.mark.parametrize("dtype", STORAGE_DTYPES)
def test_a_foreign_pipeline_draws_with_rounded_weights(studio: Studio, dtype: str) -> None:
    before, plain = studio.values(), studio.draw()
    with studio.strategies.using(LayerwiseCasting(dtype)):
        drawn = studio.draw()
    after = studio.values()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert torch.equal(studio.draw(), plain)
    round_as_stored(studio, STORAGE_DTYPES[dtype])
    assert torch.equal(drawn, studio.draw())
    assert not torch.equal(drawn, plain)


@pytest.mark.parametrize("offload", [ModelOffload(LINK), SequentialOffload(device=LINK)])
def test_small_weights_stream(studio: Studio, offload: Any) -> None:
    plain = studio.draw()
    with studio.strategies.using(LayerwiseCasting()):
        drawn = studio.draw()
    with studio.strategies.using(LayerwiseCasting(), offload):
        assert torch.equal(studio.draw(), drawn)
    assert torch.equal(studio.draw(), plain)


def test_a_pipeline_computes_in_its_own_dtype(studio: Studio) -> None:
    pipe = studio.pipe
    networks = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    dtypes = [network.dtype for network in networks]
    studio.strategies.enable(LayerwiseCasting())
    assert [network.dtype for network in networks] == dtypes
