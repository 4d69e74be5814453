"""A workload is told to a call by the names that the call knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dpnb
from dpnb.pipelines.call_arguments import CallSignature
from dpnb.planning.planner import plan
from dpnb.planning.workload import Workload
from dpnb.planning.workload_arguments import (
    arguments_for,
    default_steps,
    limit_steps,
    with_card,
    with_defaults_of,
)

WORKLOAD = Workload(height=32, width=48, batch=2, steps=5, guidance_scale=3.0, frames=9)


class Signed:
    """A pipeline, of which only the call is looked at."""

    def __init__(self, call: Any, parts: dict[str, Any] | None = None) -> None:
        self.call_signature = CallSignature.of(call)
        self._parts = parts or {}

    def parts(self) -> dict[str, Any]:
        """Its components."""
        return self._parts

    def default_size(self) -> None:
        """Nobody knows."""


def arguments(call: Any, *, optional_pictures: bool = False) -> dict[str, Any]:
    pipe: Any = Signed(call)
    made = arguments_for(pipe, WORKLOAD, optional_pictures=optional_pictures)
    return {name: value for name, value in made.items() if name != "generator"}


def video(
    prompt: str,
    height: int = 480,
    num_frames: int = 81,
    num_inference_steps: int = 50,
    true_cfg_scale: float = 4.0,
    num_videos_per_prompt: int = 1,
    output_type: str = "pil",
) -> None:
    """A call that draws videos."""


def picture(
    image: Any, prompt: str = "", mask_image: Any = None, ip_adapter_image: Any = None
) -> None:
    """A call that changes pictures, and says nothing of steps."""


def sound(prompt: str, num_inference_steps: int = 100, output_type: str = "pt") -> None:
    """A call that makes sounds."""


def test_names_are_those_of_the_call() -> None:
    assert arguments(video) == {
        "prompt": "red apple",
        "height": 32,
        "num_frames": 9,
        "num_inference_steps": 5,
        "true_cfg_scale": 3.0,
        "num_videos_per_prompt": 2,
        "output_type": "np",
    }


def test_pictures_are_made_up_and_several_prompts_stand_for_a_count() -> None:
    assert arguments(picture).keys() == {"image", "prompt"}
    given = arguments(picture, optional_pictures=True)
    assert given.keys() == {"image", "mask_image", "prompt"}
    assert given["prompt"] == ["red apple"] * 2
    assert (given["image"].mode, given["image"].size) == ("RGB", (48, 32))
    assert {*np.unique(np.asarray(given["mask_image"]))} == {0, 255}


def test_an_output_that_is_no_picture_stays_as_it_is() -> None:
    assert "output_type" not in arguments(sound)


def test_what_is_not_given_is_the_call_s_own() -> None:
    pipe: Any = Signed(sound)
    assert with_defaults_of(pipe, Workload()).steps == 100
    assert with_defaults_of(pipe, Workload(steps=7)).steps == 7
    unsaid: Any = Signed(picture)
    assert default_steps(unsaid) == 20


def test_every_loop_of_a_call_is_limited() -> None:
    def cascade(
        prior_num_inference_steps: int = 25, num_inference_steps: int | None = None
    ) -> None:
        """A call of two loops."""

    signature = CallSignature.of(cascade)
    assert limit_steps(signature, {}, 4) == {
        "prior_num_inference_steps": 4,
        "num_inference_steps": 4,
    }
    assert limit_steps(signature, {"num_inference_steps": 3}, 4)["num_inference_steps"] == 3


@pytest.mark.parametrize(("guidance_embeds", "steps"), [(False, 4), (True, 28)])
def test_flux_that_was_distilled_for_four_steps_makes_four(
    guidance_embeds: bool, steps: int
) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-flux")
    pipe.transformer.register_to_config(guidance_embeds=guidance_embeds)
    assert default_steps(pipe) == steps


def test_a_plan_counts_the_steps_that_a_pipeline_makes_by_itself() -> None:
    plain = plan("tiny-sd", height=32, width=32, device="RTX 3060", plans=[frozenset()])
    assert plain.workload.steps == 50
    assert "50 steps" in plain.workload.describe()


def test_a_card_fills_what_is_not_given() -> None:
    signature = CallSignature.of(video)
    numbers = {"num_inference_steps": 9, "true_cfg_scale": 1.0, "height": 64, "num_frames": 17}
    filled = with_card(signature, Workload(steps=3), numbers)
    assert (filled.steps, filled.guidance_scale, filled.height, filled.frames) == (3, 1.0, 64, 17)
    assert filled.from_card == ("guidance_scale", "height", "frames")
    assert with_card(signature, Workload(), numbers, ["true_cfg_scale"]).guidance_scale is None


def test_further_numbers_are_given_to_the_call() -> None:
    def call(prompt: str, max_sequence_length: int = 512) -> None:
        """A call that takes one."""

    signature = CallSignature.of(call)
    filled = with_card(signature, Workload(), {"max_sequence_length": 256})
    pipe: Any = Signed(call)
    assert arguments_for(pipe, filled)["max_sequence_length"] == 256
    assert filled.arguments()["max_sequence_length"] == 256
    assert filled.describe().endswith("(model card: max sequence length 256)")
