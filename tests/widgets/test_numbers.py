"""Panels take requests whose numbers have any form, and say what of them cannot be drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dpnb
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request
from tests.forms import FORMS
from tests.widgets.conftest import TIMEOUT

pytestmark = pytest.mark.exhaustive

NUMBERS: dict[str, Any] = {
    "steps": 2,
    "guidance_scale": 2.3,
    "width": 48,
    "height": 32,
    "seed": 7,
    "count": 2,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_request_in_any_form_draws_the_same(session: Session, form: Callable[[Any], Any]) -> None:
    expected, given = (
        session.start(Request("a cat", **numbers)).wait(TIMEOUT).images
        for numbers in (NUMBERS, {name: form(value) for name, value in NUMBERS.items()})
    )
    assert all(map(np.array_equal, map(np.asarray, expected), map(np.asarray, given)))


def test_fields_show_numbers_in_any_form(pipe: Any) -> None:
    values: dict[str, Any] = {**NUMBERS, "guidance_scale": 2}
    arrays: dict[str, Any] = {name: np.array(value) for name, value in values.items()}
    panel = RunPanel(pipe, Request("a cat", **arrays))
    assert panel.request == Request("a cat", scheduler=type(pipe.scheduler).__name__, **values)
    panel.guidance.value = 2.5
    assert panel.request.guidance_scale == 2.5
    panel.close()


@pytest.mark.parametrize("name", [*dpnb.schedulers.INTERCHANGEABLE])
def test_more_steps_than_there_are_is_a_sentence(session: Session, name: str) -> None:
    job = session.start(Request("a cat", steps=100_000, scheduler=name))
    with pytest.raises(ValueError, match=r"^num_inference_steps is 100000; choose between 1 and"):
        job.wait(TIMEOUT)
    assert session.run_state.error.startswith(
        "num_inference_steps is 100000; choose between 1 and 1"
    )
    assert session.run_state.phase == "idle"
