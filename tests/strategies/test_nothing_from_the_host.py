"""While weights are offloaded, no operation of a run computes with memory of the host."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb import (
    ConditioningCache,
    LayerwiseCasting,
    LoRA,
    ModelOffload,
    QKVFusion,
    SequentialOffload,
    VaeTiling,
)
from dpnb.strategies.offload import streamed_network
from dpnb.strategies.strategy import Slot, Strategy
from tests.strategies.late_device import LateDevice
from tests.strategies.pictures import emoji
from tests.strategies.pipes import LINK, build, draw, samples_for

pytestmark = pytest.mark.exhaustive

NAMES = ("tiny-sd", "tiny-flux", "sag", "tiny-sdxl", "tiny-ldm", "img2img", "inpaint")
"""The first three are tried with everything."""

SEQUENTIAL = SequentialOffload(device=LINK)
OTHERS = (ModelOffload(LINK), SequentialOffload("3MiB", LINK))

TILED = VaeTiling(4, spill=True)

TELLING: tuple[Strategy | None, ...] = (None, ConditioningCache(), TILED)
"""What reaches for weights in other ways than a plain run."""


def beside(name: str) -> list[Strategy | None]:
    """Strategies that are no placement, each with its first setting."""
    found: dict[type[Strategy], Strategy] = {}
    for sample in samples_for(name):
        if sample.slot is not Slot.PLACEMENT:
            found.setdefault(type(sample), sample)
    return list(found.values())


SEVERAL = ("tiny-sdxl", "tiny-flux", "img2img")

PLANS: list[tuple[str, Strategy, Strategy | None]] = [
    *((name, SEQUENTIAL, other) for name in NAMES[:3] for other in beside(name)),
    *((name, SEQUENTIAL, other) for name in NAMES for other in TELLING),
    *((name, offload, other) for name in SEVERAL for offload in OTHERS for other in TELLING),
]

pipeline = cache(build)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> LateDevice:
    """A late device, to which tensors of almost any size stream."""
    monkeypatch.setattr(streamed_network, "SMALL_TENSOR", 256)
    return LateDevice(monkeypatch)


@pytest.fixture
def pipe(name: str, device: LateDevice) -> Iterator[Any]:
    pipe = pipeline(name)
    pipe.strategies.networks.set_aside = device.set_aside
    yield pipe
    pipe.strategies.use([])


def usable(pipe: Any, *plan: Strategy | None) -> list[Strategy]:
    """Those of a plan that can serve."""
    return [s for s in plan if s is not None and pipe.strategies.obstacle(s) is None]


@pytest.mark.parametrize(("name", "offload", "other"), PLANS, ids=repr)
def test_a_run_computes_with_what_has_come_to_the_device(
    name: str, offload: Strategy, other: Strategy | None, pipe: Any, device: LateDevice
) -> None:
    steps = 2 if other in TELLING or pipe.picture_inputs else 1
    plain = usable(pipe, other)
    pipe.strategies.use(plain)
    expected = draw(pipe, steps)
    pipe.strategies.use([offload, *plain])
    with device.computing(pipe.strategies.networks) as link:
        drawn = draw(pipe, steps)
    assert link.reports == []
    assert link.moved > 0
    assert torch.equal(drawn, expected)


@pytest.mark.parametrize("offload", [SequentialOffload(device=LINK), ModelOffload(LINK)], ids=repr)
@pytest.mark.parametrize(
    "kind", ["StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"]
)
def test_so_does_a_run_of_the_model_inside_from_a_picture(
    kind: str, offload: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = LateDevice(monkeypatch)
    pipe = getattr(dpnb, kind).from_pipe(emoji())
    pipe.set_progress_bar_config(disable=True)
    pipe.strategies.use([VaeTiling()])
    expected = draw(pipe)
    pipe.strategies.use([offload, VaeTiling()])
    with device.computing(pipe.strategies.networks) as link:
        drawn = draw(pipe)
    assert link.reports == []
    assert torch.equal(drawn, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["img2img", "tiny-flux"])
def test_a_network_is_called_and_switches_change_between_two_steps(
    name: str, pipe: Any, device: LateDevice
) -> None:
    plans: list[list[Strategy]] = [
        [SEQUENTIAL, VaeTiling(), LoRA()],
        [OTHERS[0], ConditioningCache(), QKVFusion()],
        [OTHERS[1], LayerwiseCasting(), VaeTiling(4, spill=True)],
        [SEQUENTIAL, ConditioningCache(), LoRA(0.5)],
    ]
    reports: list[list[str]] = []

    def between(pipe: Any, index: int, t: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        device.switch(pipe.strategies, plans[index % len(plans)])
        latents = torch.zeros(1, pipe.vae.config.latent_channels, 4, 4)
        pipe.vae.encode(pipe.vae.decode(latents).sample)
        reports.append(list(device.link.reports))
        return tensors

    pipe.strategies.use([SEQUENTIAL])
    with device.computing(pipe.strategies.networks) as link:
        drawn = draw(pipe, 6, callback_on_step_end=between)
    assert len(reports) >= len(plans)
    assert reports[-1] == link.reports == []
    assert drawn.isfinite().all()
