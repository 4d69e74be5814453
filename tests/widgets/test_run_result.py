from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dpnb
from dpnb.metering import host
from dpnb.metering.machine_memory import MachineMemory
from dpnb.metering.trace import Trace
from dpnb.stages import Stage
from dpnb.strategies.strategy import Strategy
from dpnb.widgets.run_result import predict_memory_saver
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request
from tests.widgets.conftest import TIMEOUT, Gate

BIG = Request("a red apple", steps=2, height=96, width=96)


def on_a_machine_with(limit: int | None, trace: Trace) -> Trace:
    """The same run, where there is only so much memory for it."""
    values: Any = trace.to_json()
    for step in values["runs"][0]["steps"]:
        step["reading"] |= {"limit": None if limit is None else limit + 1000, "others": 1000}
    return Trace.from_json(values)


def peak(session: Session, *plan: Strategy) -> int:
    workload = dpnb.Workload(height=96, width=96, steps=2)
    return next(
        row.peak for row in dpnb.plan(session.pipe, workload=workload) if row.plan == {*plan}
    )


@pytest.mark.slow
def test_the_switch_that_is_named_would_have_been_enough(session: Session) -> None:
    session.start(BIG).wait(TIMEOUT)
    trace = session.run_state.history[-1].trace
    cheap = dpnb.VaeTiling()
    enough = peak(session, cheap)
    assert enough < peak(session)
    assert predict_memory_saver(session.pipe, BIG, on_a_machine_with(enough, trace)) == cheap
    dear = predict_memory_saver(session.pipe, BIG, on_a_machine_with(enough - 1, trace))
    assert dear is not None
    assert dear != cheap
    assert predict_memory_saver(session.pipe, BIG, on_a_machine_with(None, trace)) is None


@pytest.mark.slow
def test_after_a_run_that_failed_the_panel_names_it(
    session: Session, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap = dpnb.VaeTiling()
    kilobytes = peak(session, cheap) // 1024 - 1
    (tmp_path / "meminfo").write_text(f"MemTotal:  {kilobytes} kB\nMemAvailable:  {kilobytes} kB\n")
    monkeypatch.setattr(host, "MachineMemory", lambda: MachineMemory(tmp_path, tmp_path))
    gate.fails_at = (Stage.DECODING, MemoryError("no memory left"))
    gate.open(9)
    job = session.start(BIG)
    with pytest.raises(MemoryError):
        job.wait(TIMEOUT)
    memory_saver = session.run_state.memory_saver
    assert memory_saver not in (None, cheap)
    assert f"dpnb.{memory_saver!r}" in session.run_state.error
    assert "no memory left" in session.run_state.error


def test_weights_that_are_placed_elsewhere_are_not_brought_back_for_it(session: Session) -> None:
    session.start(BIG).wait(TIMEOUT)
    trace = session.run_state.history[-1].trace
    session.enable(dpnb.ModelOffload("simulated:64GiB/s"))
    assert predict_memory_saver(session.pipe, BIG, on_a_machine_with(1 << 30, trace)) is None
