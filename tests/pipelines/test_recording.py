from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.stages import Stage
from tests.reference import checkpoints

STEPS = {"num_inference_steps": 3, "output_type": "np"}
STAGES = ["text", "denoising", "denoising", "denoising", "decoding"]


def build() -> Any:
    pipe = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def tiny() -> Any:
    return build()


@pytest.fixture
def pipe(tiny: Any) -> Iterator[Any]:
    before = len(tiny.strategies._listeners)
    yield tiny
    assert list(tiny.listeners) == []
    assert len(tiny.strategies._listeners) == before
    tiny.strategies.use([])


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("meter", ["host", "tensors"])
def test_a_run_is_measured_by_stage_and_step(pipe: Any, meter: Any, tmp_path: Path) -> None:
    with dpnb.record(pipe, meter) as trace:
        pipe("a cat", **STEPS)
    (run,) = trace.runs
    assert run.outcome == "finished"
    assert [step.stage for step in run.steps] == STAGES
    assert [step.index for step in run.steps] == [0, 0, 1, 2, 0]
    assert sum(step.duration for step in run.steps) <= run.duration
    assert all(step.peak >= step.current > 0 for step in run.steps)
    assert list(trace.by_stage()) == ["text", "denoising", "decoding"]
    assert trace.by_stage()["denoising"].steps == 3
    trace.save(tmp_path / "trace.json")
    assert dpnb.Trace.load(tmp_path / "trace.json") == trace.trace


def test_recording_leaves_the_picture_as_it_is(pipe: Any) -> None:
    plain = pipe("a cat", generator=seeded(), **STEPS).images
    for meter in ("host", "tensors"):
        with dpnb.record(pipe, meter):
            assert np.array_equal(pipe("a cat", generator=seeded(), **STEPS).images, plain)


def test_counts_of_tensors_are_repeatable(pipe: Any) -> None:
    peaks = []
    for _ in range(2):
        with dpnb.record(pipe, "tensors") as trace:
            pipe("a cat", **STEPS)
        peaks.append([(step.stage, step.peak, step.current) for step in trace.steps])
    assert peaks[0] == peaks[1]


def test_without_a_choice_the_cpu_has_the_meter_of_the_host(pipe: Any) -> None:
    with dpnb.record(pipe) as trace:
        pass
    assert (trace.trace.meter, trace.trace.clock) == ("host", "the host's clock")
    assert trace.runs == ()


def test_every_run_of_a_block_is_a_segment(pipe: Any) -> None:
    pipe("a cat", **STEPS)
    with dpnb.record(pipe, "tensors") as trace:
        for _ in range(2):
            pipe("a cat", **STEPS)
    pipe("a cat", **STEPS)
    assert [run.outcome for run in trace.runs] == ["finished"] * 2
    first, second = trace.runs
    assert first.start + first.duration <= second.start
    assert trace.by_stage()["denoising"].steps == 6


def test_a_switch_between_two_steps_is_marked_at_its_time(pipe: Any) -> None:
    def switch(pipe: Any, index: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if index == 0:
            pipe.enable_attention_slicing()
        else:
            pipe.disable_attention_slicing()
        return tensors

    with dpnb.record(pipe, "tensors") as trace:
        pipe("a cat", callback_on_step_end=switch, **STEPS)
    assert [event.text for event in trace.events] == [
        "AttentionSlicing on",
        "AttentionSlicing off",
    ]
    for event, step in zip(trace.events, trace.steps[1:3], strict=True):
        assert step.start < event.time < step.start + step.duration
    assert trace.runs[0].strategies == ()


def test_a_change_of_a_field_is_marked_by_what_is_on_now(pipe: Any) -> None:
    pipe.enable_attention_slicing()
    with dpnb.record(pipe) as trace:
        pipe("a cat", **STEPS)
        pipe.enable_attention_slicing("max")
        pipe.strategies.use([dpnb.FreeU(0.8, 0.3, 1.1, 1.3)])
    pipe.strategies.use([])
    assert trace.runs[0].strategies == ("AttentionSlicing",)
    assert [event.text for event in trace.events] == [
        "AttentionSlicing(slice_size='max') on",
        "AttentionSlicing(slice_size='max') off",
        "FreeU(s1=0.8, s2=0.3, b1=1.1, b2=1.3) on",
    ]


def test_an_error_in_the_middle_is_recorded_and_reaches_the_caller(pipe: Any) -> None:
    def fail(pipe: Any, index: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if index == 1:
            raise RuntimeError("enough")
        return tensors

    with pytest.raises(RuntimeError, match="enough"), dpnb.record(pipe, "tensors") as trace:
        pipe("a cat", callback_on_step_end=fail, **STEPS)
    (run,) = trace.runs
    assert (run.outcome, run.error) == ("failed", "RuntimeError: enough")
    assert [step.stage for step in run.steps] == STAGES[:3]
    assert [step.is_complete for step in run.steps] == [True, True, False]
    assert run.steps[2].peak > 0
    assert_no_mode_is_left()


def test_a_keyboard_interrupt_is_an_interruption(pipe: Any) -> None:
    def press(pipe: Any, index: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), dpnb.record(pipe) as trace:
        pipe("a cat", callback_on_step_end=press, **STEPS)
    assert trace.runs[0].outcome == "interrupted"
    assert trace.runs[0].error is None


def test_an_interrupted_run_still_decodes(pipe: Any) -> None:
    def stop(pipe: Any, index: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = True
        return tensors

    with dpnb.record(pipe, "tensors") as trace:
        pipe("a cat", callback_on_step_end=stop, **STEPS)
    assert trace.runs[0].outcome == "interrupted"
    assert [step.stage for step in trace.steps] == ["text", "denoising", "decoding"]


def test_a_stream_that_is_left_half_way(pipe: Any) -> None:
    with dpnb.record(pipe, "tensors") as trace:
        for step in pipe.stream("a cat", **STEPS):
            if step.stage is Stage.DENOISING:
                break
    gc.collect()
    assert trace.runs[0].outcome == "left"
    assert [step.stage for step in trace.steps] == STAGES[:2]
    assert_no_mode_is_left()


def test_a_run_that_outlives_the_block_is_recorded_to_its_end(pipe: Any) -> None:
    with dpnb.record(pipe, "tensors") as trace:
        steps = pipe.stream("a cat", **STEPS)
        next(steps)
    assert trace.runs[0].outcome == "running"
    list(steps)
    assert trace.runs[0].outcome == "finished"
    assert [step.stage for step in trace.steps] == STAGES


def test_what_the_caller_does_between_two_steps_is_not_counted(pipe: Any) -> None:
    with dpnb.record(pipe, "tensors") as alone:
        pipe("a cat", **STEPS)
    with dpnb.record(pipe, "tensors") as trace:
        held = [torch.zeros(1_000_000) for _ in pipe.stream("a cat", **STEPS)]
    assert trace.peak == alone.peak
    assert len(held) == 5


def test_a_trace_can_be_read_during_a_run(pipe: Any) -> None:
    seen = []
    with dpnb.record(pipe, "tensors") as trace:
        for _ in pipe.stream("a cat", **STEPS):
            seen.append((len(trace.steps), trace.runs[0].outcome))
    assert seen == [(count, "running") for count in range(1, 6)]


def test_a_curve_within_steps_may_be_asked_for(pipe: Any) -> None:
    with dpnb.record(pipe, "tensors", every=0.001) as trace:
        pipe("a cat", **STEPS)
    (run,) = trace.runs
    assert 0 < len(trace.samples) < 1000
    assert all(
        run.start <= sample.time <= run.start + run.duration for sample in trace.samples[:-1]
    )
    assert max(sample.peak for sample in trace.samples) <= trace.peak
    with pytest.raises(ValueError, match=r"every is 0; use seconds above 0, for example 0.1"):
        dpnb.record(pipe, every=0)
    with pytest.raises(TypeError, match=r"every is '0.1'; it must be a finite number"):
        dpnb.record(pipe, every="0.1")  # type: ignore[arg-type]


def samplers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "dpnb sampler"}


def test_sampling_ends_with_the_block_whatever_happens(pipe: Any) -> None:
    before, seen = samplers(), set[threading.Thread]()

    def look(pipe: Any, index: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.update(samplers() - before)
        raise LookupError

    with pytest.raises(LookupError), dpnb.record(pipe, every=0.01):
        pipe("a cat", callback_on_step_end=look, **STEPS)
    (sampler,) = seen
    assert not sampler.is_alive()


def test_two_pipelines_at_once_are_kept_apart(pipe: Any) -> None:
    other = build()
    with dpnb.record(pipe, "tensors") as alone:
        for _ in zip(pipe.stream("a cat", **STEPS), strict=True):
            pass
    with dpnb.record(pipe, "tensors") as one, dpnb.record(other, "tensors") as two:
        for _ in zip(pipe.stream("a cat", **STEPS), other.stream("a dog", **STEPS), strict=True):
            pass
    for trace in (one, two):
        assert [step.stage for step in trace.steps] == STAGES
        assert [step.peak for step in trace.steps] == [step.peak for step in alone.steps]
    assert_no_mode_is_left()


def test_two_recordings_of_one_run_agree(pipe: Any) -> None:
    with dpnb.record(pipe, "tensors") as outer, dpnb.record(pipe, "tensors") as inner:
        pipe("a cat", **STEPS)
    assert [step.peak for step in outer.steps] == [step.peak for step in inner.steps]


def test_a_run_in_another_thread_is_counted(pipe: Any) -> None:
    with dpnb.record(pipe, "tensors") as alone:
        pipe("a cat", **STEPS)
    with dpnb.record(pipe, "tensors") as trace:
        thread = Thread(target=pipe, args=("a cat",), kwargs=STEPS)
        thread.start()
        thread.join()
    assert [step.peak for step in trace.steps] == [step.peak for step in alone.steps] != []


def test_a_meter_of_ones_own_may_be_given(pipe: Any) -> None:
    meter = TensorMeter()
    with dpnb.record(pipe, meter) as trace:
        pipe("a cat", **STEPS)
    assert trace.peak >= meter.peak > 0


def test_switches_of_a_pipeline_that_shares_networks_are_marked(pipe: Any) -> None:
    other = dpnb.StableDiffusionPipeline.from_pipe(pipe)
    with dpnb.record(pipe) as trace:
        other.enable_attention_slicing()
        other.disable_attention_slicing()
    assert len(trace.events) == 2


@pytest.mark.slow
def test_nothing_keeps_a_pipeline_or_a_recording_alive() -> None:
    pipe = build()
    with dpnb.record(pipe, "tensors") as trace:
        pipe("a cat", **STEPS)
        pipe.enable_attention_slicing()
    left = trace.trace
    gone = [weakref.ref(trace), weakref.ref(pipe)]
    del trace
    gc.collect()
    assert gone[0]() is None
    del pipe
    gc.collect()
    assert gone[1]() is None
    assert len(left.steps) == 5


def test_what_cannot_be_recorded_is_refused_at_once(pipe: Any) -> None:
    with pytest.raises(TypeError, match="Linear is no pipeline"):
        dpnb.record(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="'rss' is no meter"):
        dpnb.record(pipe, "rss")  # type: ignore[arg-type]


def test_a_pipeline_of_diffusers_is_measured_as_ours() -> None:
    foreign = checkpoints.pipeline("sd1")
    with dpnb.record(foreign, "tensors") as trace:
        foreign("a cat", num_inference_steps=3, height=32, width=32)
        dpnb.attach(foreign).strategies.enable(dpnb.ChannelsLast())
        foreign("a cat", num_inference_steps=2, height=32, width=32)
    assert [run.outcome for run in trace.runs] == ["finished"] * 2
    assert {name: one.steps for name, one in trace.by_stage().items()} == {
        "text": 2,
        "denoising": 5,
        "decoding": 2,
    }
    assert trace.peak > 0
    assert [event.text for event in trace.events] == ["ChannelsLast on"]


@pytest.mark.gpu
def test_a_run_on_a_cuda_device_is_read_from_its_allocator_and_its_events() -> None:
    pipe = build().to("cuda")
    with dpnb.record(pipe) as trace:
        pipe("a cat", **STEPS)
    assert (trace.trace.meter, trace.trace.clock) == ("cuda", "CUDA events")
    assert [step.stage for step in trace.steps] == STAGES
    for step in trace.steps:
        assert step.duration > 0
        assert step.reading.reserved is not None
        assert step.reading.reserved >= step.peak >= step.current > 0
    starts = [step.start for step in trace.steps]
    assert starts == sorted(starts)
    assert trace.growth > 0


def assert_no_mode_is_left() -> None:
    """Operations of this thread pass no dispatch mode."""
    assert torch._C._len_torch_dispatch_stack() == 0
