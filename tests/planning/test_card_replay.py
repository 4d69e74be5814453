"""Runs on a card: what its allocator, libraries and context make of them."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import dpnb
from dpnb.metering.tensors import TensorMeter, storage_number
from dpnb.planning.allocator_settings import AllocatorSettings
from dpnb.planning.card_memory import CardMemory
from dpnb.planning.card_replay import CardReplay
from dpnb.planning.device_profile import Cost, DeviceProfile
from dpnb.planning.planner import plan
from dpnb.planning.timeline import Boundary, Span, StepTimeline, TimelineRecorder
from dpnb.planning.valueless import SCRATCH, ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.weight_sizes import WeightSizes
from dpnb.planning.workspaces import CardLibraries
from dpnb.stages import Stage

MIB = 1 << 20
AMPERE = CardLibraries((8, 0))
WORKSPACES = 8 * MIB + 128 * 1024 + MIB


def replayed(*events: int) -> CardMemory:
    replay = CardReplay(AMPERE, AllocatorSettings())
    replay.play(events)
    return replay.result()


def step(recording: object, *events: int) -> StepTimeline:
    span = Span(0, 0, Cost(), 0, 0, Boundary.STEP, events=array("q", events))
    return StepTimeline(Stage.DENOISING, (span,), recording)


def test_tensors_come_beside_the_libraries_workspaces() -> None:
    made = replayed(7, 30 * MIB, 8, 5 * MIB, 7, 0)
    assert made.allocated == WORKSPACES + 35 * MIB
    assert made.reserved == (20 + 2 + 30) * MIB, "5 MiB are beside cuBLAS's workspace"
    assert made.least == made.allocated + 256 * MIB
    assert made.most == made.reserved + 512 * MIB


def test_scratch_is_gone_at_once() -> None:
    made = replayed(SCRATCH, 40 * MIB, SCRATCH, 30 * MIB, 7, 40 * MIB)
    assert (made.allocated, made.reserved) == (WORKSPACES + 40 * MIB, (20 + 2 + 40) * MIB)


def test_a_storage_that_grows_is_there_twice_for_a_moment() -> None:
    replay = CardReplay(AMPERE, AllocatorSettings())
    replay.play((7, 30 * MIB, 7, 40 * MIB))
    assert replay.result().allocated == WORKSPACES + 70 * MIB
    assert replay.allocator.allocated == WORKSPACES + 40 * MIB


def test_a_step_that_stands_for_others_is_played_once() -> None:
    replay, first = CardReplay(AMPERE), step("a", 7, MIB)
    assert [replay.is_new(one) for one in (first, first, step("a", 7, MIB))] == [True, False, True]


def test_numbers_of_another_recording_are_other_storages() -> None:
    replay = CardReplay(AMPERE, AllocatorSettings())
    for one in (step("a", 7, 30 * MIB), step("b", 7, 0, 7, 30 * MIB, 7, 0)):
        assert replay.is_new(one)
        replay.play(one.spans[0].events)
    assert replay.allocator.allocated == WORKSPACES + 30 * MIB


def test_weights_that_a_run_casts_are_not_there_twice() -> None:
    replay = CardReplay(AMPERE, AllocatorSettings())
    replay.load({1: 30 * MIB, 2: 40 * MIB})
    replay.play((3, 60 * MIB, 1, 0, 4, 30 * MIB))
    assert replay.result().allocated == WORKSPACES + (60 + 40 + 30) * MIB


def test_weights_that_are_cast_are_among_a_runs_events() -> None:
    mode = ValuelessTensors()
    pipe = build_valueless_pipeline("tiny-sd", mode, torch.float16)
    weights = WeightSizes.of(pipe.strategies.networks)
    recorder = TimelineRecorder(mode, DeviceProfile.from_name("RTX 3060"))
    former = {storage_number(parameter) for parameter in pipe.vae.parameters()}
    with recorder.watch(pipe.strategies.networks), torch.no_grad():
        pipe.vae.to(torch.float32)
    (span,) = recorder.end_step(Stage.DECODING).spans
    pairs = list(zip(span.events[::2], span.events[1::2], strict=True))
    assert former <= {number for number, nbytes in pairs if nbytes == 0}
    assert former <= set(weights.tensors)
    made = sum(nbytes for _, nbytes in pairs)
    assert made == 2 * sum(weights.tensors[number] for number in former)


def test_a_meter_tells_what_storages_do_in_order() -> None:
    meter = TensorMeter()
    meter.events = array("q")
    with meter:
        first = torch.zeros(100)
        second = first + 1
        del first
        second.resize_(300)
        del second
    sizes = meter.events[1::2].tolist()
    assert sizes == [400, 400, 0, 1200, 0]
    one, other = meter.events[0], meter.events[2]
    assert meter.events[::2].tolist() == [one, other, one, other, other]


def made_in(mode: ValuelessTensors, capability: tuple[int, int], compute: Any) -> list[int]:
    """The scratch of what is computed with a valueless picture `[1, 8, 16, 16]` of float16."""
    mode.card, meter = CardLibraries(capability), TensorMeter()
    meter.events = array("q")
    with torch.no_grad(), mode.count_with(meter):
        compute()
    pairs = zip(meter.events[::2], meter.events[1::2], strict=True)
    return [nbytes for key, nbytes in pairs if key == SCRATCH]


@pytest.mark.parametrize(
    ("capability", "dtype", "expected"),
    [
        ((8, 0), torch.float16, 2 * (8 + 4) * 256 + 2 * 4 * 8 * 9),
        ((7, 5), torch.float16, 2 * (8 + 4) * 256 + 2 * 4 * 8 * 9),
        ((8, 6), torch.float32, 4 * 8 * 256 + 4 * 4 * 8 * 9),
        ((7, 5), torch.float32, 0),
        ((6, 0), torch.float16, 4 * (8 + 4) * 256 + 4 * 4 * 8 * 9),
    ],
)
def test_convolutions_convert_what_has_channels_first(
    capability: tuple[int, int], dtype: torch.dtype, expected: int
) -> None:
    mode = ValuelessTensors()
    picture, kernel = mode.empty((1, 8, 16, 16), dtype), mode.empty((4, 8, 3, 3), dtype)
    found = made_in(mode, capability, lambda: F.conv2d(picture, kernel, padding=1))
    assert found == ([expected] if expected else [])


def test_channels_last_and_depthwise_convolutions_convert_nothing() -> None:
    mode = ValuelessTensors()
    picture = mode.empty((1, 8, 16, 16), torch.float16)
    kernel = mode.empty((4, 8, 3, 3), torch.float16).contiguous(memory_format=torch.channels_last)
    assert made_in(mode, (8, 0), lambda: F.conv2d(picture, kernel, padding=1)) == []
    single = mode.empty((8, 1, 3, 3), torch.float16)
    assert made_in(mode, (8, 0), lambda: F.conv2d(picture, single, padding=1, groups=8)) == []


@pytest.mark.parametrize(
    ("capability", "dtype", "head", "expected"),
    [
        ((8, 0), torch.float16, 64, 0),
        ((8, 0), torch.float16, 512, 4 * 2 * 16 * 512),
        ((7, 5), torch.float16, 256, 4 * 2 * 16 * 256),
        ((7, 5), torch.float16, 128, 0),
        ((8, 0), torch.float32, 512, 0),
    ],
)
def test_attention_adds_up_in_float32_where_heads_are_wide(
    capability: tuple[int, int], dtype: torch.dtype, head: int, expected: int
) -> None:
    mode = ValuelessTensors()
    query = mode.empty((1, 2, 16, head), dtype)
    found = made_in(mode, capability, lambda: F.scaled_dot_product_attention(query, query, query))
    assert found == ([expected] if expected else [])


def test_plans_heed_the_allocators_settings_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size: dict[str, Any] = {"height": 32, "width": 32, "steps": 2, "plans": [frozenset()]}
    classic = plan("tiny-sd", device="RTX 3060", **size).rows[0].memory
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "roundup_power2_divisions:2")
    rounded = plan("tiny-sd", device="RTX 3060", **size).rows[0].memory
    assert classic is not None
    assert rounded is not None
    assert classic.allocated < rounded.allocated
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:3")
    with pytest.raises(ValueError, match="max_split_size_mb is 3; it must be more than 20"):
        plan("tiny-sd", device="RTX 3060", **size)


def test_streamed_weights_come_from_the_same_allocator() -> None:
    """Offloads reserve less than all weights do, and more than their tensors' peak."""
    plans = [frozenset(), frozenset({dpnb.ModelOffload()}), frozenset({dpnb.SequentialOffload()})]
    table = plan("dpnb/emoji-64", device="RTX 3060", steps=2, plans=plans)
    plain, model, streamed = (table.of(*one) for one in plans)
    assert plain.memory is not None
    assert model.memory is not None
    assert streamed.memory is not None
    assert streamed.memory.reserved < model.memory.reserved < plain.memory.reserved
    for row in table:
        assert row.memory is not None
        slack = row.memory.allocated - row.peak
        assert WORKSPACES <= slack < WORKSPACES + 8 * MIB
