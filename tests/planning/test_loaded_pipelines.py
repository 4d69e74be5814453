"""Loaded pipelines that dpnb did not write are planned for, and left as they are."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from torch import nn

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.quantized import nbytes_of
from dpnb.pipelines.attached.heard_class import studio_of
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.loaded_pipelines import (
    copy_foreign,
    device_of,
    is_loaded_pipeline,
    name_of,
    parts_of,
)
from dpnb.planning.planner import plan
from dpnb.planning.simulation import Simulation
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.weight_sizes import idle_weight_bytes
from dpnb.planning.workload import Workload
from dpnb.strategies.strategy import Plan
from tests.pipelines.attached.foreign import draw, everything_of
from tests.reference.checkpoints import pipeline, safety_checker
from tests.reference.foreign import stable_diffusion_xl
from tests.slow import share_of

LINK = "simulated:64GiB/s"

SIZE: dict[str, Any] = {"height": 32, "width": 32, "steps": 3, "device": LINK}


@pytest.fixture
def pipe() -> Any:
    return pipeline("sd1")


def measured(pipe: Any, *strategies: Any) -> dict[str, int]:
    """The most bytes of every stage, weights and all else."""
    studio = dpnb.attach(pipe)
    with studio.strategies.using(*strategies):
        rest = idle_weight_bytes(studio.strategies.networks)
        with dpnb.record(pipe, TensorMeter()) as trace:
            pipe("red apple", height=32, width=32, num_inference_steps=3, output_type="np")
    return {name: stage.peak + rest for name, stage in trace.by_stage().items()}


@pytest.mark.parametrize(
    "strategies",
    [(), (dpnb.ModelOffload(LINK),), (dpnb.SequentialOffload(device=LINK),)],
    ids=repr,
)
def test_a_run_holds_byte_for_byte_what_was_predicted(pipe: Any, strategies: Any) -> None:
    table = plan(pipe, plans=[frozenset(strategies)], **SIZE)
    assert table.rows[0].peaks == measured(pipe, *strategies)


@pytest.mark.slow
def test_every_plan_is_one_that_can_be_switched_on(pipe: Any) -> None:
    table = plan(pipe, **SIZE)
    assert len(table) >= 3
    for row in share_of(table.rows):
        assert row.peaks == measured(pipe, *row.plan), row.name


def test_planning_leaves_a_pipeline_as_it_is(pipe: Any) -> None:
    draw(pipe)
    before, plain = everything_of(pipe), draw(pipe)
    plan(pipe, plans=[frozenset()], **SIZE)
    assert studio_of(pipe) is None
    assert everything_of(pipe) == before
    assert torch.equal(draw(pipe), plain)


def test_an_attached_one_keeps_what_is_on(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    expected = plan(pipe, plans=[frozenset()], **SIZE).rows
    studio.strategies.enable(dpnb.SequentialOffload(device=LINK))
    assert plan(studio, plans=[frozenset()], **SIZE).rows == expected
    assert studio.strategies.active == {dpnb.SequentialOffload(device=LINK)}


def test_a_copy_has_the_class_the_shapes_and_the_settings(pipe: Any) -> None:
    dpnb.attach(pipe)
    made = copy_foreign(pipe, ValuelessTensors(), None)
    assert type(made) is diffusers.StableDiffusionPipeline
    assert made.unet.config.block_out_channels == pipe.unet.config.block_out_channels
    assert made.scheduler is not pipe.scheduler
    assert made.tokenizer is pipe.tokenizer
    for name, part in parts_of(pipe).items():
        if isinstance(part, nn.Module):
            shapes = {k: (v.shape, v.dtype) for k, v in part.state_dict().items()}
            twin = getattr(made, name).state_dict()
            assert {k: (v.shape, v.dtype) for k, v in twin.items()} == shapes


def test_only_what_is_called_and_has_networks_is_a_pipeline(pipe: Any) -> None:
    assert is_loaded_pipeline(pipe)
    assert is_loaded_pipeline(dpnb.attach(pipe))
    assert is_loaded_pipeline(dpnb.random_pipeline("tiny-sd"))
    others = (pipe.unet, pipe.scheduler, diffusers.StableDiffusionPipeline, 3, print)
    assert not any(map(is_loaded_pipeline, others))
    for other in others:
        with pytest.raises(TypeError, match="cannot be planned for"):
            plan(other, **SIZE)


def test_it_is_called_by_its_class_and_computes_where_its_networks_are(pipe: Any) -> None:
    for model in (pipe, dpnb.attach(pipe)):
        assert name_of(model) == "StableDiffusionPipeline"
        assert device_of(model) == torch.device("cpu")


def test_what_a_pipeline_was_set_to_is_set_at_the_copy() -> None:
    pipe = pipeline("sd1")
    pipe.resolutions, pipe.kept = [(32, 32)], torch.ones(3)
    pipe.watched = object()
    copied = copy_foreign(pipe, ValuelessTensors(), None)
    assert copied.resolutions == [(32, 32)]
    assert torch.equal(copied.kept, pipe.kept)
    assert copied.kept is not pipe.kept
    assert "watched" not in vars(copied)


def test_thresholds_of_a_checker_may_be_looked_at() -> None:
    checker, processor = safety_checker()
    pipe = pipeline("sd1", safety_checker=checker, feature_extractor=processor)
    table = dpnb.plan(pipe, height=32, width=32, steps=2, plans=[frozenset()])
    with dpnb.record(pipe, "tensors") as trace:
        pipe("red apple", height=32, width=32, num_inference_steps=2, output_type="np")
    networks = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    assert table.of().peak == trace.growth + sum(map(nbytes_of, networks))


@pytest.mark.slow
def test_what_an_exchange_alone_gains_is_no_gain_of_a_switch(pipe: Any) -> None:
    one, two = (dpnb.plan(pipe, batch=batch, **SIZE) for batch in (1, 2))
    assert not any(isinstance(s, dpnb.VaeSlicing) for row in one for s in row.plan)
    assert any(isinstance(s, dpnb.VaeSlicing) for row in two for s in row.plan)
    assert "Alone, this saves neither memory nor time here." in one.left_out["VaeSlicing"]


class MayBegin(diffusers.StableDiffusionPipeline):  # type: ignore[misc]
    """A pipeline that may be given a picture, and draws without one too."""

    given: list[Any]

    def __call__(self, prompt: str, image: Any = None, **arguments: Any) -> Any:
        self.given.append(image)
        return super().__call__(prompt, **arguments)


def test_a_picture_is_made_up_only_for_what_begins_with_one(pipe: Any) -> None:
    begins = diffusers.StableDiffusionImg2ImgPipeline(**pipe.components)
    assert "encoding" in dpnb.plan(begins, steps=2, plans=[frozenset()]).of().peaks
    may = MayBegin(**pipe.components, requires_safety_checker=False)
    may.given = []
    mode = ValuelessTensors()
    model: Any = build_valueless_pipeline(may, mode)
    Simulation(model, mode, Workload(steps=2), DeviceProfile.from_name("RTX 3060")).run()
    assert model.pipe.given == [None]
    assert may.given == []


def test_a_prediction_does_not_depend_on_what_was_simulated_before() -> None:
    """Runs of this pipeline leave the weights of its autoencoder in another dtype."""
    case = next(
        c for c in stable_diffusion_xl.CASES if c.name == "StableDiffusionXLImg2ImgPipeline"
    )
    casting: Plan = frozenset({dpnb.LayerwiseCasting()})
    tiled = casting | {dpnb.VaeTiling(blended=True)}
    arguments = case.arguments()
    rows = plan(case.build(), plans=[casting, tiled], device=LINK, arguments=arguments).rows
    alone = plan(case.build(), plans=[tiled], device=LINK, arguments=case.arguments()).rows
    assert [row.peaks for row in rows if row.plan == tiled] == [alone[0].peaks]
    pipe = case.build()
    studio = dpnb.attach(pipe)
    with studio.strategies.using(*tiled):
        rest = idle_weight_bytes(studio.strategies.networks)
        with dpnb.record(pipe, TensorMeter()) as trace:
            case.draw(pipe)
    found = {name: stage.peak + rest for name, stage in trace.by_stage().items()}
    assert alone[0].peaks == found


def test_functions_that_a_pipeline_was_given_are_those_of_the_copy() -> None:
    pipe = pipeline("sd1")
    pipe.chosen, pipe.drawn = draw, pipe.encode_prompt
    copied = copy_foreign(pipe, ValuelessTensors(), None)
    assert copied.chosen is draw
    assert copied.drawn.__self__ is copied
    assert copied.drawn.__func__ is type(pipe).encode_prompt
