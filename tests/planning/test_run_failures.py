"""What a pipeline's own code refuses is said in a sentence that names what to give."""

from __future__ import annotations

from typing import Any

import pytest

from dpnb.errors import DpnbError
from dpnb.planning.planner import plan
from dpnb.planning.run_failures import SimulatedRunError, describe_failure
from dpnb.planning.valueless import ValuelessTensorError
from tests.reference.checkpoints import pipeline
from tests.reference.foreign import wan

CARD = "RTX 3060"


def film(name: str = "WanPipeline") -> Any:
    return next(case for case in wan.CASES if case.name == name).build()


def test_a_size_that_the_networks_are_too_small_for_is_named() -> None:
    with pytest.raises(SimulatedRunError) as caught:
        plan(film(), steps=2, plans=[frozenset()], device=CARD)
    text = str(caught.value)
    assert text.startswith(
        "A simulated run of WanPipeline at height=480, width=832, num_frames=81 fails with Runtime"
    )
    assert text.endswith(
        "; give another height, width, frames, or what its call needs with arguments={…}."
    )
    assert isinstance(caught.value, DpnbError)
    assert isinstance(caught.value.__cause__, RuntimeError)
    size: dict[str, Any] = {"height": 32, "width": 32, "frames": 5}
    assert len(plan(film(), steps=2, plans=[frozenset()], device=CARD, **size)) == 1


def test_a_required_argument_that_nothing_makes_up_is_named() -> None:
    pipe = pipeline("sd1")

    class Steered(type(pipe)):  # type: ignore[misc]
        def __call__(self, route: list[int], prompt: str = "", height: int = 32) -> Any:
            return super().__call__(prompt, height=height, num_inference_steps=len(route))

    pipe.__class__ = Steered
    with pytest.raises(SimulatedRunError, match=r"without route, .*; give arguments=\{'route': …}"):
        plan(pipe, plans=[frozenset()], device=CARD)
    given = {"route": [1, 2]}
    assert len(plan(pipe, plans=[frozenset()], device=CARD, arguments=given)) == 1


def test_a_failure_is_its_class_and_one_line() -> None:
    assert describe_failure(ValueError("too large.\nmore")) == "ValueError: too large"
    assert describe_failure(KeyError()) == "KeyError"
    assert describe_failure(ValuelessTensorError("It decides.")) == "It decides"
