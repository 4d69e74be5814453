"""Numbers in every form that numpy and torch have are Python's own once they are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from dpnb.numbers import (
    coerce_numbers,
    parse_bool,
    parse_int,
    parse_ints,
    parse_number,
    parse_numbers,
    to_builtin,
)
from tests.forms import FORMS, NO_NUMBERS


@dataclass(frozen=True)
class Mixed:
    """Fields of every kind that holds numbers, and of others."""

    count: int = 1
    scale: float = 0.5
    size: tuple[int, int] = (1, 2)
    factors: tuple[float, ...] = ()
    is_on: bool = False
    budget: int | str | None = None
    latents: Any = None

    def __post_init__(self) -> None:
        coerce_numbers(self)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("value", [0, 7, -3, 2**40, 0.1, 7.3, -1e-8, 1e30, 0.7, 1 / 3])
def test_a_number_is_what_was_written(form: Callable[[Any], Any], value: float) -> None:
    if value == 2**40 and form is FORMS["narrow numpy"]:
        return
    read = parse_number("scale", form(value))
    assert type(read) is type(value)
    assert read == (value if value != 1 / 3 else to_builtin(form(value)))
    assert float(np.float32(read)) == float(np.float32(value))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_narrow_float_stays_itself(dtype: torch.dtype) -> None:
    values = torch.randn(200).mul(torch.logspace(-20, 4, 200)).to(dtype)
    again = torch.tensor(to_builtin(values), dtype=dtype)
    assert torch.equal(again, values)
    ends = torch.tensor([torch.finfo(torch.float32).max, torch.finfo(torch.float32).tiny])
    assert torch.equal(torch.tensor(to_builtin(ends)), ends)
    assert math.isnan(to_builtin(torch.tensor(math.nan)))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_several_numbers_are_a_tuple(form: Callable[[Any], Any]) -> None:
    assert parse_ints("size", form((3, 4)), 2) == (3, 4)
    read = parse_numbers("sigmas", form((14.6, 0.7, 0.0)))
    assert read == (14.6, 0.7, 0.0)
    assert {type(entry) for entry in read} == {float}


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused_in_a_sentence(value: Any) -> None:
    for reader, kind in ((parse_int, "a whole number"), (parse_number, "a finite number")):
        with pytest.raises((TypeError, ValueError)) as refusal:
            reader("steps", value)
        assert str(refusal.value).startswith("steps is ")
        assert str(refusal.value).endswith(
            f"it must be {kind}, such as {8 if reader is parse_int else 0.5}."
        )


def test_the_rule_that_is_broken_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^steps is 2\.5; it must be a whole number, such as 8\.$"
    ):
        parse_int("steps", torch.tensor(2.5))
    with pytest.raises(
        ValueError, match=r"^steps is 0; it must be a whole number of at least 1\.$"
    ):
        parse_int("steps", np.int64(0), least=1)
    with pytest.raises(ValueError, match=r"^share is 2; it must be a finite number from 0 to 1\.$"):
        parse_number("share", 2, least=0, most=1)
    with pytest.raises(ValueError, match=r"^size is \[1, 2, 3\]; it must be 2 whole numbers\.$"):
        parse_ints("size", np.array([1, 2, 3]), 2)
    with pytest.raises(TypeError, match=r"^sigmas is 'abc'; it must be a sequence of numbers\.$"):
        parse_numbers("sigmas", "abc")
    with pytest.raises(ValueError, match=r"^an entry of sigmas is nan; it must be a finite number"):
        parse_numbers("sigmas", [1.0, float("nan")])
    with pytest.raises(TypeError, match=r"^spill is 1; it must be True or False\.$"):
        parse_bool("spill", 1)
    with pytest.raises(ValueError, match="finite number"):
        parse_number("scale", 10**400)


def test_whole_floats_fractions_and_decimals_are_numbers() -> None:
    assert (parse_int("steps", 20.0), type(parse_int("steps", np.float64(20)))) == (20, int)
    assert parse_number("scale", Fraction(1, 4)) == parse_number("scale", Decimal("0.25")) == 0.25


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_dataclass_settles_by_the_types_it_declares(form: Callable[[Any], Any]) -> None:
    given = Mixed(3, 0.25, (3, 4), (0.5, 2.0), True, 1 << 20)
    values = {name: form(value) for name, value in vars(given).items() if value is not None}
    read = Mixed(**values)
    assert read == given
    assert repr(read) == repr(given)


def test_a_dataclass_leaves_other_fields_alone() -> None:
    latents = torch.zeros(2)
    mixed = Mixed(budget="4GiB", latents=latents)
    assert (mixed.budget, mixed.latents) == ("4GiB", latents)
    assert Mixed().budget is None
    for values in ({"count": None}, {"scale": "1"}, {"size": 3}, {"is_on": None}):
        with pytest.raises(TypeError, match=f"^{next(iter(values))} is "):
            Mixed(**values)
