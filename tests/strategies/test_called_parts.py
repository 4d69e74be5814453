"""Parts of offloaded networks that code calls by themselves, and weights that it computes with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb import ModelOffload, SequentialOffload
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.offload import streamed_network
from dpnb.strategies.placement import compute_budget_limits
from dpnb.strategies.strategy import Strategy
from tests.pipelines.attached.foreign import everything_of
from tests.reference.foreign import audio, edits, ltx, transformers_classic, z_image
from tests.reference.foreign.case import ForeignCase
from tests.strategies.late_device import LateDevice
from tests.strategies.pipes import LINK

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

CASES = {
    case.name: case
    for module in (audio, ltx, transformers_classic, z_image)
    for case in module.CASES
}

REACHING = {
    "DiTPipeline": "the network calls a part of its first block",
    "AmusedPipeline": "the autoencoder calls a method of a block",
    "LTX2Pipeline": "blocks are in what cannot be called",
    "StableAudio3Pipeline": "a method of a block computes with its own buffer",
    "VQDiffusionPipeline": "the pipeline computes with a weight, and calls a method of a block",
}

ON_DISK = {
    "AmusedInpaintPipeline": "a block computes with a weight of its layer",
    "HunyuanDiTPipeline": "so does attention",
    "AceStepPipeline": "the pipeline computes with a weight",
    "VQDiffusionPipeline": "so it does",
    "ZImageControlNetPipeline": "two components share layers and weights",
}


@pytest.fixture(autouse=True)
def small_tensors_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_network, "SMALL_TENSOR", 256)


@pytest.fixture(params=[0.0, 0.5, 1.0, None], ids=["least", "half", "most", "models"])
def share(request: pytest.FixtureRequest) -> float | None:
    found: float | None = request.param
    return found


def attributes_of(pipe: Any) -> dict[str, Any]:
    """All but what every run sets anew."""
    found = everything_of(pipe)
    return {name: value for name, value in found.items() if "_current_timestep" not in name}


def find_lasting_attributes(case: ForeignCase, pipe: Any) -> dict[str, Any]:
    """Those that another run does not make anew, as older forms of weight norm do."""
    before = attributes_of(pipe)
    case.draw(pipe)
    after = attributes_of(pipe)
    return {name: value for name, value in before.items() if after.get(name) == value}


def offload(studio: Any, share: float | None) -> tuple[Strategy, int]:
    """A placement that holds such a share of what it could hold, and its limit in bytes."""
    least, most = compute_budget_limits(studio.strategies.networks)
    if share is None:
        return ModelOffload(LINK), most
    budget = round(least + share * (most - least))
    return SequentialOffload(budget, LINK), budget


@pytest.mark.parametrize("name", REACHING)
def test_what_is_called_past_its_block_computes_on_the_device(
    name: str, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, device = CASES[name], LateDevice(monkeypatch)
    pipe = case.build()
    plain = case.draw(pipe)
    before = find_lasting_attributes(case, pipe)
    studio = dpnb.attach(pipe)
    placement, limit = offload(studio, share)
    studio.strategies.networks.set_aside = device.set_aside
    studio.strategies.use([placement])
    with device.computing(studio.strategies.networks) as link:
        drawn = case.draw(pipe)
    assert link.reports == []
    assert torch.equal(drawn, plain)
    assert 0 < link.peak <= limit
    studio.detach()
    assert torch.equal(case.draw(pipe), plain)
    now = attributes_of(pipe)
    assert {name: now[name] for name in before} == before


@pytest.mark.parametrize(
    "case",
    [case for case in edits.CASES if "AttendAndExcite" in case.name or "Pix2PixZero" in case.name],
    ids=lambda case: case.name,
)
def test_gradients_are_refused_before_a_run(case: ForeignCase) -> None:
    pipe = case.build()
    strategies = dpnb.attach(pipe).strategies
    for kind in (ModelOffload, SequentialOffload):
        assert strategies.obstacle(kind(device=LINK)) == (
            f"{kind.__name__} lets no gradient pass, and runs of this pipeline compute gradients; "
            "exclude the networks that these pass through, or leave it out."
        )
        assert strategies.obstacle(kind(device=LINK, exclude=("unet",))) is None
    assert strategies.obstacle(DeviceMap("cpu")) is None


@pytest.mark.parametrize("name", ON_DISK)
def test_what_others_compute_with_does_not_wait_on_the_disk(name: str) -> None:
    case = CASES[name]
    pipe = case.build()
    plain = case.draw(pipe)
    before = find_lasting_attributes(case, pipe)
    studio = dpnb.attach(pipe)
    values = {
        f"{part}.{key}": tensor.clone()
        for part, network in studio.strategies.networks.items()
        for key, tensor in network.state_dict().items()
    }
    studio.strategies.use([DeviceMap("disk")])
    networks = [network for _, network in studio.strategies.networks.items()]
    assert any(p.is_meta for network in networks for p in network.parameters())
    assert torch.equal(case.draw(pipe), plain)
    studio.detach()
    assert torch.equal(case.draw(pipe), plain)
    now = attributes_of(pipe)
    assert {name: now[name] for name in before} == before
    for part, network in dpnb.attach(pipe).strategies.networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, values[f"{part}.{key}"])
