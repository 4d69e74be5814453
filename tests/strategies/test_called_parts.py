"""Parts of offloaded networks that code calls by themselves, and weights that it computes with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb import ModelOffload, SequentialOffload
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.step_prediction import OffloadReplay
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.weight_sizes import WeightSizes, idle_weight_bytes
from dpnb.planning.workload import Workload
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.offload import streamed_network
from dpnb.strategies.placement import compute_budget_limits
from dpnb.strategies.strategy import Strategy
from tests.pipelines.attached.foreign import everything_of
from tests.reference.census import Exactly
from tests.reference.foreign import audio, edits, ltx, transformers_classic, z_image
from tests.reference.foreign.case import ForeignCase
from tests.strategies.late_device import LateDevice
from tests.strategies.pipes import LINK

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
    plain, before = case.draw(pipe), everything_of(pipe)
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
    assert everything_of(pipe) == before


@pytest.mark.parametrize("name", ["DiTPipeline", "VQDiffusionPipeline"])
def test_what_they_need_is_what_was_predicted(name: str, share: float | None) -> None:
    case = CASES[name]
    pipe = case.build()
    case.draw(pipe)
    studio = dpnb.attach(pipe)
    placement, limit = offload(studio, share)
    predicted_peak, predicted_bytes = predict(case, studio, limit)
    with studio.strategies.using(placement):
        link = studio.strategies.networks.link
        rest = idle_weight_bytes(studio.strategies.networks)
        with dpnb.record(pipe, "tensors") as trace:
            case.draw(pipe)
        assert link.moved == predicted_bytes
    assert max(stage.peak for stage in trace.by_stage().values()) + rest == predicted_peak


def predict(case: ForeignCase, studio: Any, limit: int) -> tuple[int, int]:
    """The peak of a run with such an offload, and the bytes that come from the host."""
    mode, profile = ValuelessTensors(), DeviceProfile.from_name("RTX 3060")
    model = build_valueless_pipeline(studio.pipe, mode)
    steps = Exactly(model, mode, Workload(), profile, case.arguments()).run()
    replay = OffloadReplay(WeightSizes.of(model.strategies.networks), limit, profile)
    peak = max(step.peak for step in replay.run(steps))
    return peak, replay.link.moved


@pytest.mark.parametrize(
    "case",
    [case for case in edits.CASES if "AttendAndExcite" in case.name or "Pix2PixZero" in case.name],
    ids=lambda case: case.name,
)
def test_gradients_are_refused_before_a_run(case: ForeignCase) -> None:
    strategies = dpnb.attach(case.build()).strategies
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
    plain, before = case.draw(pipe), everything_of(pipe)
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
    assert everything_of(pipe) == before
    for part, network in dpnb.attach(pipe).strategies.networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, values[f"{part}.{key}"])
