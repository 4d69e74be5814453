from __future__ import annotations

from typing import Any

import diffusers
import pytest

import dpnb
from dpnb.pipelines.settings.scheduler_settings import (
    describe_scheduler,
    exchange_scheduler,
    list_successors,
    restore_scheduler,
)
from dpnb.schedulers import INTERCHANGEABLE

SETTINGS = {"beta_schedule": "scaled_linear", "steps_offset": 1}
OURS: Any = dpnb.EulerDiscreteScheduler(**SETTINGS, use_karras_sigmas=True)
THEIRS: Any = diffusers.EulerDiscreteScheduler(**SETTINGS, use_karras_sigmas=True)


@pytest.mark.parametrize("scheduler", [OURS, THEIRS], ids=["ours", "theirs"])
def test_only_what_differs_from_the_defaults_is_said(scheduler: Any) -> None:
    expected = {**SETTINGS, "use_karras_sigmas": True}
    assert describe_scheduler(scheduler) == ("EulerDiscreteScheduler", expected)
    assert describe_scheduler(type(scheduler)()) == ("EulerDiscreteScheduler", {})
    assert describe_scheduler(None) == (None, {})


@pytest.mark.parametrize("name", INTERCHANGEABLE)
def test_a_scheduler_is_restored_from_its_description(name: str) -> None:
    made = getattr(dpnb, name).from_config(SETTINGS)
    again = restore_scheduler(*describe_scheduler(made), OURS, is_whole=True)
    assert type(again) is type(made)
    assert {key: again.config[key] for key in again.config.names()} == {
        key: made.config[key] for key in made.config.names()
    }


def test_a_foreign_scheduler_is_restored_too() -> None:
    name, settings = describe_scheduler(THEIRS)
    again = restore_scheduler(name, settings, diffusers.DDIMScheduler(), is_whole=True)
    assert isinstance(again, diffusers.EulerDiscreteScheduler)
    assert describe_scheduler(again) == (name, settings)


@pytest.mark.parametrize("present", [OURS, THEIRS], ids=["ours", "theirs"])
def test_what_a_sampler_does_not_say_is_the_models(present: Any) -> None:
    made = restore_scheduler(
        "DPMSolverMultistepScheduler", {"use_exponential_sigmas": True}, present, is_whole=False
    )
    assert made.config["beta_schedule"] == "scaled_linear"
    assert made.config["use_exponential_sigmas"] is True
    assert made.config["use_karras_sigmas"] is False


def test_another_sampler_of_the_same_name_serves_models_of_flows() -> None:
    flow: Any = dpnb.FlowMatchEulerDiscreteScheduler()
    made = restore_scheduler("EulerDiscreteScheduler", {}, flow, is_whole=False)
    assert type(made) is type(flow)
    assert restore_scheduler(None, {}, flow, is_whole=False) is flow


def test_a_scheduler_that_cannot_take_over_is_refused() -> None:
    with pytest.raises(
        ValueError, match="Nope cannot take over from EulerDiscreteScheduler; there"
    ):
        restore_scheduler("Nope", {}, OURS, is_whole=True)
    assert list_successors(object()) == {}


def test_the_former_scheduler_comes_back_after_an_error() -> None:
    pipe = dpnb.random_pipeline("tiny-sd")
    before = pipe.scheduler
    with pytest.raises(KeyboardInterrupt), exchange_scheduler(pipe, OURS):
        stop_with(pipe)
    assert pipe.scheduler is before


def stop_with(pipe: Any) -> None:
    assert pipe.scheduler is OURS
    raise KeyboardInterrupt
