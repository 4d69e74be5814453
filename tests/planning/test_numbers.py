"""Workloads, plans, requests and drawings are the same in every form of their numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import dpnb
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.planner import plan
from dpnb.planning.table import PlanTable
from dpnb.planning.workload import Workload
from dpnb.prompt_file import Drawing
from dpnb.units import parse_bytes, parse_size
from dpnb.widgets.state import Request
from tests.forms import FORMS, NO_NUMBERS

CARD = DeviceProfile("a card", 1 << 30, 1e11, 1e12, 2e12, 1e10, 1e-5, True, "invented", "cuda")
VALUES: list[Any] = [
    Workload("a cat", 32, 48, 2, 3, 2.3, 7),
    Request("a cat", "", 3, 2.3, 48, 32, 7, 2, None, 0.7),
    Drawing("a cat", None, 7, 3, 2.3, 48, 32),
    CARD,
]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("value", VALUES, ids=[type(value).__name__ for value in VALUES])
def test_a_value_is_the_same_in_every_form(value: Any, form: Callable[[Any], Any]) -> None:
    numbers = {
        field.name: getattr(value, field.name)
        for field in fields(value)
        if isinstance(getattr(value, field.name), (int, float))
    }
    is_wide = form is not FORMS["narrow numpy"] or max(numbers.values()) < 1e9
    given = {name: form(number) if is_wide else number for name, number in numbers.items()}
    read = replace(value, **given)
    assert (read, repr(read)) == (value, repr(value))
    assert json.dumps({name: getattr(read, name) for name in numbers}) == json.dumps(numbers)


@pytest.mark.parametrize("value", VALUES, ids=[type(value).__name__ for value in VALUES])
def test_what_is_no_number_is_refused(value: Any) -> None:
    for field in fields(value):
        if field.name == "line" or type(getattr(value, field.name)) not in (int, float):
            continue
        for wrong in NO_NUMBERS.values():
            with pytest.raises((TypeError, ValueError), match=f"^{field.name} is .*; it must be a"):
                replace(value, **{field.name: wrong})


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_has_64_bits(seed: int) -> None:
    for value in VALUES[:3]:
        with pytest.raises(ValueError, match=rf"^seed is {seed}; it must be a whole number from -"):
            replace(value, seed=seed).arguments()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_sizes_of_memory_and_of_pictures_take_every_form(form: Callable[[Any], Any]) -> None:
    assert parse_bytes(form(1 << 24)) == 1 << 24
    assert parse_size(form(1024)) == (1024, 1024)


@pytest.mark.slow
def test_a_plan_of_numbers_in_every_form_survives_json(tmp_path: Path) -> None:
    numbers: dict[str, Any] = {
        "height": 16,
        "width": 24,
        "batch": 2,
        "steps": 2,
        "guidance_scale": 2.3,
    }
    pipe = dpnb.random_pipeline("tiny-sd")
    expected = plan(pipe, 1 << 29, device=CARD, plans=[frozenset()], approximate=True, **numbers)
    for label, form in FORMS.items():
        given = {name: form(number) for name, number in numbers.items()}
        table = plan(
            pipe,
            form(1 << 29),
            device=CARD,
            plans=[frozenset()],
            approximate=form(True),
            **given,
        )
        assert table == expected
        table.save(tmp_path / f"{label}.json")
        assert PlanTable.load(tmp_path / f"{label}.json") == expected
        assert table.within(form(1 << 20)) == expected.within(1 << 20)
