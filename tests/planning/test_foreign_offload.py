"""What comes over the link is what is predicted, also for pipelines that dpnb did not write."""

from __future__ import annotations

from typing import Any

import pytest

import dpnb
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.step_prediction import OffloadReplay
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.weight_sizes import WeightSizes
from dpnb.planning.workload import Workload
from dpnb.strategies.offload import streamed_network
from dpnb.strategies.placement import SequentialOffload, compute_budget_limits
from tests.reference.census import Exactly
from tests.reference.foreign import flux, stable_diffusion, transformers_classic, wan
from tests.reference.foreign.case import ForeignCase
from tests.strategies.pipes import LINK

CASES = {
    case.name: case
    for module in (flux, stable_diffusion, transformers_classic, wan)
    for case in module.CASES
}
CHOSEN = (
    "DiTPipeline",
    "StableDiffusionPipeline (IP-Adapter)",
    "FluxPipeline (true guidance)",
    "WanPipeline (two transformers)",
)


def predict(case: ForeignCase, studio: Any, budget: int) -> int:
    """Bytes that come in a run."""
    mode, profile = ValuelessTensors(), DeviceProfile.from_name("RTX 3060")
    model = build_valueless_pipeline(studio.pipe, mode)
    steps = Exactly(model, mode, Workload(), profile, case.arguments()).run()
    weights = WeightSizes.of(model.strategies.networks)
    return sum(step.moved for step in OffloadReplay(weights, budget, profile).run(steps))


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["least", "half", "most"])
def test_as_many_bytes_come_as_are_predicted(
    name: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_network, "SMALL_TENSOR", 256)
    case = CASES[name]
    studio = dpnb.attach(case.build())
    case.draw(studio.pipe)
    least, most = compute_budget_limits(studio.strategies.networks)
    budget = round(least + share * (most - least))
    expected = predict(case, studio, budget)
    with studio.strategies.using(SequentialOffload(budget, LINK)):
        link = studio.strategies.networks.link
        assert link is not None
        before = link.moved
        case.draw(studio.pipe)
        assert link.moved - before == expected
