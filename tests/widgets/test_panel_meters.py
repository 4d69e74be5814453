from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from typing_extensions import override

import dpnb
from dpnb.bench.measurement import Benchmark
from dpnb.metering.live import LiveMeter
from dpnb.planning.workload import Workload
from dpnb.widgets.panel_meters import METERS, meters_on, panel_meter
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request
from tests.widgets.conftest import TIMEOUT

SMALL = Request("a red apple", steps=3, width=32, height=32, guidance_scale=5.0)


def peaks(session: Session) -> dict[str, int]:
    return {name: stage.peak for name, stage in session.run_state.trace.by_stage().items()}  # type: ignore[union-attr]


def weights_of(pipe: Any) -> int:
    networks = [pipe.unet, pipe.vae, pipe.text_encoder]
    return sum(t.nbytes for n in networks for t in (*n.parameters(), *n.buffers()))


def test_every_meter_has_words() -> None:
    for device in ("cpu", "cuda"):
        assert {*meters_on(torch.device(device))} <= METERS.keys()


def test_panels_count_what_plans_predict_and_reports_measure(session: Session, pipe: Any) -> None:
    for strategies in ([], [dpnb.AttentionSlicing()], [dpnb.VaeSlicing()]):
        pipe.strategies.use(strategies)
        session.start(SMALL).wait()
        workload = Workload(height=32, width=32, steps=3, guidance_scale=5.0)
        measured, _ = Benchmark(pipe, workload, repeats=1).measure(pipe.strategies.active)
        latents = 4 * 4 * 16 * 16
        for stage, peak in measured.peaks.items():
            assert 0 <= peaks(session)[stage] - peak <= latents, stage


def test_weights_are_those_of_the_networks(session: Session, pipe: Any) -> None:
    session.start(SMALL).wait()
    trace: Any = session.run_state.trace
    assert trace.runs[0].begin.weights == trace.runs[0].begin.current == weights_of(pipe)
    assert trace.steps[-1].reading.process > 0


def test_the_second_run_of_a_form_is_not_counted_and_says_the_same(
    session: Session, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = []
    entered = LiveMeter.__enter__

    def enter(self: LiveMeter) -> LiveMeter:
        counting.append(self.is_counting)
        return entered(self)

    monkeypatch.setattr(LiveMeter, "__enter__", enter)
    session.start(SMALL).wait()
    first = peaks(session)
    assert all(counting)
    counting.clear()
    session.start(SMALL).wait()
    assert counting
    assert not any(counting)
    assert peaks(session) == first
    pipe("another prompt", num_inference_steps=3, width=32, height=32, guidance_scale=5.0)
    assert peaks(session) == first
    counting.clear()
    pipe("a larger one", num_inference_steps=3, width=64, height=32, guidance_scale=5.0)
    assert all(counting)
    assert peaks(session)["denoising"] > first["denoising"]


def test_a_switch_in_the_middle_is_counted(session: Session, pipe: Any) -> None:
    session.start(SMALL).wait()
    before = peaks(session)["denoising"]
    steps = pipe.stream(
        "a red apple", num_inference_steps=3, width=32, height=32, guidance_scale=5.0
    )
    for step in steps:
        if step.stage == "denoising" and step.index == 1:
            pipe.strategies.enable(dpnb.AttentionSlicing(1))
    traces = [s for s in session.run_state.trace.steps if s.stage == "denoising"]  # type: ignore[union-attr]
    assert traces[0].peak == before
    assert traces[-1].peak <= before


def test_streamed_weights_are_not_all_there(session: Session, pipe: Any) -> None:
    session.start(SMALL).wait()
    resident: Any = session.run_state.trace
    pipe.strategies.use([dpnb.SequentialOffload(device="simulated:64GiB/s")])
    session.start(SMALL).wait()
    trace: Any = session.run_state.trace
    assert trace.runs[0].begin.weights < weights_of(pipe) / 4
    assert trace.peak < resident.peak


class Checker(nn.Module):
    """A network that has nothing to learn."""

    device, dtype = torch.device("cpu"), torch.float32

    @override
    def forward(self, images: Any = None, clip_input: Any = None, **_: Any) -> tuple[Any, Any]:
        return images, [False] * len(images)


def test_a_network_without_parameters_is_measured_too(session: Session, pipe: Any) -> None:
    pipe.safety_checker = Checker()
    try:
        session.start(SMALL).wait(TIMEOUT)
        pipe("a red apple", num_inference_steps=1)
    finally:
        pipe.safety_checker = None
    assert [run.trace.meter for run in session.run_state.history] == ["live", "live"]


@pytest.mark.parametrize("failing", ["read", "__init__"])
def test_a_meter_that_fails_ends_no_run(
    session: Session, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no such counter")

    monkeypatch.setattr(LiveMeter, failing, fail)
    session.start(SMALL).wait(TIMEOUT)
    [run] = session.run_state.history
    assert (run.trace.meter, run.is_finished) == ("tensors", True)
    assert (session.run_state.phase, session.run_state.error) == ("idle", "")


def test_an_unknown_meter_is_refused(pipe: Any) -> None:
    with pytest.raises(ValueError, match="'nothing' is no meter"):
        panel_meter(pipe, "nothing")
