"""What is predicted is what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, TINY_CLIP, assemble
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.planner import plan
from dpnb.planning.simulated_runs import SimulatedRuns
from dpnb.planning.simulation import Simulation
from dpnb.planning.step_prediction import predict_resident
from dpnb.planning.table import PlanTable
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.weight_sizes import idle_weight_bytes
from dpnb.planning.workload import Workload
from tests.slow import share_of
from tests.strategies.pipes import build

LINK = "simulated:64GiB/s"

CPU = DeviceProfile("a CPU", 1 << 34, 2e10, 1e11, 1e11, None, 1e-5, False, "made up for tests")


def load(name: str, dtype: str) -> Any:
    if "/" in name:
        pipe: Any = dpnb.DiffusionPipeline.from_pretrained(name, dtype=dtype)
        pipe.set_progress_bar_config(disable=True)
        return pipe
    return build(name, dtype=dtype)


def measured(pipe: Any, workload: Workload) -> dict[str, int]:
    """The peak of every stage: the run's tensors, and the weights that are on the device."""
    rest = idle_weight_bytes(pipe.strategies.networks)
    with dpnb.record(pipe, TensorMeter()) as trace:
        pipe(**workload.arguments(pipe.picture_inputs))
    return {name: stage.peak + rest for name, stage in trace.by_stage().items()}


def errors(pipe: Any, table: PlanTable) -> dict[str, float]:
    """By how much the prediction of each plan is off at its worst stage, of what is measured."""
    found = {}
    for row in table:
        with pipe.strategies.using(*row.plan):
            real = measured(pipe, table.workload)
        found[row.name] = max(abs(row.peaks[stage] / real[stage] - 1) for stage in real)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype", "workload", "approximate"),
    [
        ("dpnb/emoji-64", "float32", Workload(steps=2), False),
        ("tiny-sd", "float32", Workload(height=32, width=48, steps=3), False),
        ("tiny-sd", "bfloat16", Workload(height=24, width=16, steps=2, guidance_scale=1.0), True),
        ("tiny-sdxl", "bfloat16", Workload(height=16, width=32, steps=2, batch=2), False),
    ],
)
def test_every_plan_holds_what_was_predicted(
    name: str, dtype: str, workload: Workload, approximate: bool
) -> None:
    pipe = load(name, dtype)
    table = plan(pipe, workload=workload, device=LINK, approximate=approximate)
    assert len(table) >= 15
    found = errors(pipe, replace(table, rows=tuple(share_of(table.rows))))
    assert max(found.values()) == 0, {name: error for name, error in found.items() if error}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_plans_of_a_narrow_stable_diffusion_hold_what_was_predicted(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topology of Stable Diffusion 1.5; `bench_planning` has its width, and all plans."""
    shape = ARCHITECTURES["sd15"]
    narrow = replace(
        shape,
        unet={**shape.unet, "block_out_channels": (32, 64, 128, 128), "cross_attention_dim": 32},
        vae={**shape.vae, "block_out_channels": (32, 32, 64, 64)},
        text_encoders=(("CLIPTextModel", TINY_CLIP),),
    )
    monkeypatch.setitem(ARCHITECTURES, "narrow", narrow)
    pipe = load("narrow", dtype)
    workload = Workload(height=32, width=32, steps=1, guidance_scale=1.0)
    plans: list[Any] = [
        frozenset(),
        frozenset({dpnb.ConditioningCache(), dpnb.VaeTiling()}),
        frozenset({dpnb.ModelOffload(LINK), dpnb.QKVFusion()}),
        frozenset({dpnb.SequentialOffload(device=LINK), dpnb.AttentionSlicing("max")}),
    ]
    table = plan(pipe, workload=workload, device=LINK, plans=plans)
    assert len(table) == len(plans)
    assert max(errors(pipe, table).values()) < 0.001


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "dtype", "strategies"),
    [
        ("img2img", "float32", []),
        ("img2img", "float32", [dpnb.Precision(), dpnb.LayerwiseCasting(), dpnb.VaeTiling(4)]),
        ("inpaint", "bfloat16", [dpnb.QKVFusion(), dpnb.ConditioningCache(), dpnb.VaeTiling(4)]),
        ("sag", "float32", [dpnb.ConditioningCache()]),
        ("sag", "bfloat16", [dpnb.TokenMerging(0.6, 2)]),
        ("img2img", "float32", [dpnb.GuidanceInterval(0.5, 1)]),
        ("tiny-ldm", "bfloat16", [dpnb.QKVFusion(), dpnb.VaeTiling(4)]),
    ],
)
def test_other_kinds_of_pipelines_hold_what_was_predicted(
    name: str, dtype: str, strategies: list[Any]
) -> None:
    pipe = load(name, dtype)
    workload = Workload(height=32, width=24, steps=3)
    valueless_mode = ValuelessTensors()
    simulation = Simulation(
        build_valueless_pipeline(pipe, valueless_mode), valueless_mode, workload, CPU
    )
    run = SimulatedRuns(simulation).simulate(frozenset(strategies))
    peaks: dict[str, int] = {}
    for step, held in zip(run.steps, predict_resident(run.steps, run.weights, CPU), strict=True):
        peaks[step.stage] = max(peaks.get(step.stage, 0), held.peak)
    with pipe.strategies.using(*strategies):
        assert measured(pipe, workload) == peaks
    assert simulation.steps == pipe.num_timesteps
    assert ("encoding" in peaks) == bool(pipe.picture_inputs)


@pytest.mark.slow
def test_a_plan_for_a_run_that_begins_with_a_picture_has_its_stage() -> None:
    table = plan(load("img2img", "float32"), height=16, width=16, steps=2, device=CPU)
    assert table.stages == ("text", "encoding", "denoising", "decoding")
    assert table.headings[3:7] == ("Text", "Encoding", "Denoising", "Decoding")
    assert all(row.peaks["encoding"] > 0 for row in table)


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheduler", ["PNDMScheduler", "UniPCMultistepScheduler", "LMSDiscreteScheduler"]
)
def test_what_a_scheduler_remembers_is_predicted(scheduler: str) -> None:
    pipe = load("tiny-sd", "float32")
    pipe.scheduler = getattr(dpnb, scheduler).from_config(pipe.scheduler.config)
    workload = Workload(height=32, width=32, steps=7)
    valueless_mode = ValuelessTensors()
    simulation = Simulation(
        build_valueless_pipeline(pipe, valueless_mode), valueless_mode, workload, CPU
    )
    run = SimulatedRuns(simulation).simulate(frozenset({dpnb.ConditioningCache()}))
    with pipe.strategies.using(dpnb.ConditioningCache()):
        real = measured(pipe, workload)
    predicted = max(step.peak for step in run.steps_before_decoding) + run.weights.resident
    assert predicted == pytest.approx(real["denoising"], rel=0.01)


@pytest.mark.slow
def test_a_transformer_holds_what_was_predicted() -> None:
    pipe = load("tiny-flux", "bfloat16")
    workload = Workload(height=16, width=24, steps=2)
    table = plan(pipe, workload=workload, device=LINK)
    plans = [row for row in table if len(row.plan) < 2]
    assert {type(strategy) for row in plans for strategy in row.plan} >= {
        dpnb.ModelOffload,
        dpnb.SequentialOffload,
        dpnb.QKVFusion,
    }
    for row in plans:
        with pipe.strategies.using(*row.plan):
            assert measured(pipe, workload) == row.peaks


@pytest.mark.exhaustive
@pytest.mark.parametrize("negative", [None, "dull"])
def test_what_a_transformer_remembers_is_predicted(negative: str | None) -> None:
    guided = {"negative_prompt": negative, "true_cfg_scale": 2.0}

    class Guided(Workload):
        def arguments(self, pictures: Sequence[PictureInput] = ()) -> dict[str, Any]:
            return super().arguments(pictures) | guided

    pipe = load("tiny-flux", "float32")
    workload = Guided(height=16, width=24, steps=3)
    valueless_mode = ValuelessTensors()
    simulation = Simulation(
        build_valueless_pipeline(pipe, valueless_mode), valueless_mode, workload, CPU, guided
    )
    simulation.workload = workload
    strategies = [dpnb.ConditioningCache(), dpnb.LayerwiseCasting(), dpnb.AttentionSlicing("max")]
    run = SimulatedRuns(simulation).simulate(frozenset(strategies))
    with pipe.strategies.using(*strategies):
        real = measured(pipe, workload)
    predicted = max(step.peak for step in run.steps_before_decoding[1:]) + run.weights.resident
    assert predicted == real["denoising"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_shape_of_stable_diffusion_holds_what_was_predicted(dtype: torch.dtype) -> None:
    def allocate(network: nn.Module) -> None:
        for owner in network.modules():
            for name, parameter in list(owner._parameters.items()):
                if parameter is not None:
                    value = torch.zeros(parameter.shape, dtype=dtype)
                    owner._parameters[name] = nn.Parameter(value, requires_grad=False)
        network.eval()

    pipe: Any = assemble("sd15", allocate)
    pipe.set_progress_bar_config(disable=True)
    workload = Workload(height=64, width=64, steps=1)
    valueless_mode = ValuelessTensors()
    simulated = Simulation(
        build_valueless_pipeline("sd15", valueless_mode, dtype), valueless_mode, workload, CPU
    ).run()
    with dpnb.record(pipe, TensorMeter()) as trace:
        pipe(**workload.arguments())
    real = [step.peak for step in trace.steps]
    assert [step.peak for step in simulated] == real


@pytest.mark.slow
def test_planning_leaves_a_pipeline_as_it_is() -> None:
    pipe = load("tiny-sd", "float32")
    pipe.enable_attention_slicing()
    before = {id(p): p.data_ptr() for p in pipe.unet.parameters()}
    plan(pipe, height=32, width=32, steps=2, device=LINK)
    assert {id(p): p.data_ptr() for p in pipe.unet.parameters()} == before
    assert pipe.strategies.active == {dpnb.AttentionSlicing()}


@pytest.mark.slow
def test_the_cpu_loses_time_to_every_copy_over_a_simulated_link() -> None:
    quick = replace(CPU, link=64e9, torch_device=LINK)
    slow = replace(quick, transfer=1.0)
    workload = Workload(height=32, width=32, steps=2)
    before, after = (
        {row.plan: row.seconds for row in plan("tiny-sd", workload=workload, device=profile)}
        for profile in (quick, slow)
    )
    streamed = frozenset({dpnb.SequentialOffload(device=LINK)})
    assert after[streamed] - before[streamed] > 3  # the small tensors of three networks, at least
    assert after[frozenset()] == before[frozenset()]
