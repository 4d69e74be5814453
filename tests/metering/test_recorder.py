from __future__ import annotations

import threading
import time
from threading import Thread

import pytest
import torch

from dpnb.metering.clock import HostClock, clock_for
from dpnb.metering.meter import meter_for
from dpnb.metering.recorder import Recorder
from dpnb.metering.tensors import TensorMeter
from dpnb.stages import Stage


def recorder() -> Recorder:
    return Recorder(TensorMeter(), HostClock())


def test_a_step_has_its_own_peak_and_what_lies_between_two_is_not_counted() -> None:
    made = recorder()
    run = made.begin_run(["FreeU"])
    run.begin_step(Stage.TEXT)
    kept = torch.zeros(10)
    torch.zeros(1000)
    run.end_step(Stage.TEXT)
    between = torch.zeros(10_000)
    run.begin_step(Stage.DENOISING)
    torch.zeros(100)
    run.end_step(Stage.DENOISING)
    run.end("finished")
    text, denoising = made.steps
    assert (text.peak, text.current) == (4040, 40)
    assert (denoising.peak, denoising.current) == (440, 40)
    assert made.peak == made.growth == 4040
    assert made.runs[0].strategies == ("FreeU",)
    assert kept.numel() + between.numel() == 10_010


def test_times_follow_one_another_and_add_up() -> None:
    made = recorder()
    run = made.begin_run()
    for stage in (Stage.TEXT, Stage.DENOISING, Stage.DENOISING, Stage.DECODING):
        run.begin_step(stage)
        run.end_step(stage)
    made.note("something")
    run.end("finished")
    (traced,) = made.runs
    ends = [traced.start]
    for step in traced.steps:
        assert step.start >= ends[-1]
        assert step.reading.time >= step.start + step.duration
        ends.append(step.start + step.duration)
    assert made.events[0].time >= ends[-1]
    assert traced.start + traced.duration >= ends[-1]
    assert [step.index for step in traced.steps] == [0, 0, 1, 0]
    assert traced.begin.time <= traced.start


def test_a_step_in_which_something_failed_is_there_with_its_peak() -> None:
    made = recorder()
    run = made.begin_run()
    run.begin_step(Stage.DECODING)
    torch.zeros(100)
    run.end("failed", "RuntimeError: no memory")
    (traced,) = made.runs
    assert (traced.outcome, traced.error) == ("failed", "RuntimeError: no memory")
    assert not traced.steps[0].is_complete
    assert traced.peak == 400
    with TensorMeter() as outer:
        torch.zeros(10)
    assert outer.peak == 40


def test_a_run_can_be_read_while_it_goes_on_also_from_another_thread() -> None:
    made = recorder()
    assert list(made.runs) == []
    run = made.begin_run()
    assert (made.runs[0].outcome, made.runs[0].duration) == ("running", 0.0)
    run.begin_step(Stage.DENOISING)
    run.end_step(Stage.DENOISING)
    seen = []
    thread = Thread(target=lambda: seen.append(made.trace))
    thread.start()
    thread.join()
    assert seen[0].runs[0].outcome == "running"
    assert seen[0].runs[0].duration >= seen[0].steps[0].duration > 0
    before = seen[0]
    run.end("finished")
    assert before.runs[0].outcome == "running"
    assert made.trace.runs[0].outcome == "finished"
    assert made.trace.steps == before.steps


def test_two_runs_at_once_are_kept_apart() -> None:
    made = recorder()
    first, second = made.begin_run(), made.begin_run()
    first.begin_step(Stage.TEXT)
    first.end_step(Stage.TEXT)
    second.begin_step(Stage.DECODING)
    second.end_step(Stage.DECODING)
    second.end("finished")
    first.end("left")
    assert [run.outcome for run in made.runs] == ["left", "finished"]
    assert [[step.stage for step in run.steps] for run in made.runs] == [["text"], ["decoding"]]


def test_a_step_is_what_it_has_turned_out_to_be() -> None:
    made = recorder()
    run = made.begin_run()
    run.begin_step(Stage.DENOISING)
    run.end_step(Stage.DECODING)
    assert made.steps[0].stage == "decoding"


def test_the_trace_is_shown_and_saved_as_one() -> None:
    made = recorder()
    assert made.to_json() == made.trace.to_json()
    assert made._repr_html_() == made.trace._repr_html_()
    assert (made.seconds_per_step, made.by_stage()) == (None, {})
    assert made.trace.label == "bytes of tensors that the run has made"


def test_samples_are_taken_while_a_run_goes_on_and_only_then() -> None:
    made, before = recorder(), set(threading.enumerate())
    with made.sample_every(0.001):
        time.sleep(0.01)
        assert list(made.samples) == []
        run = made.begin_run()
        run.begin_step(Stage.DECODING)
        held = torch.zeros(1000)
        while len(made.samples) < 5:
            time.sleep(0.001)
        run.end_step(Stage.DECODING)
        run.end("finished")
        taken = len(made.samples)
        time.sleep(0.01)
        assert len(made.samples) <= taken + 1
    assert before.issuperset(threading.enumerate())
    times = [sample.time for sample in made.samples]
    assert times == sorted(times)
    assert times[0] >= made.runs[0].start
    assert made.samples[4].current == held.nbytes
    assert made.peak == max(sample.peak for sample in made.samples[:5])


@pytest.mark.gpu
def test_a_step_on_a_cuda_device_takes_as_long_as_the_device_needs() -> None:
    made = Recorder(meter_for("cuda"), clock_for("cuda"))
    a = torch.randn(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run = made.begin_run()
        run.begin_step(Stage.DENOISING)
        for _ in range(50):
            a = a @ a / 4096
        run.end_step(Stage.DENOISING)
        provisional = made.seconds_per_step
        run.end("finished")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    made.synchronize()
    assert provisional is not None
    assert made.seconds_per_step is not None
    assert made.seconds_per_step > provisional
    assert made.steps[0].peak >= 2 * a.nbytes
    assert made.trace.clock == "CUDA events"
