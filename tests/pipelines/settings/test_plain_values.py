from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dpnb.pipelines.settings.plain_values import split_plain

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_what_is_plain_survives_json(values: dict[str, Any]) -> None:
    plain, others = split_plain(values)
    assert plain.keys() | {*others} == values.keys()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert all(plain[name] == values[name] for name in plain)


def test_numbers_of_others_become_plain_and_tuples_lists() -> None:
    given_values = {"a": np.float32(0.1), "b": torch.tensor(3), "c": (1, (2.5, None))}
    assert split_plain(given_values) == ({"a": 0.1, "b": 3, "c": [1, [2.5, None]]}, ())


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1),
        np.zeros(2),
        Image.new("RGB", (1, 1)),
        math.inf,
        print,
        [torch.zeros(2)],
        {1: 2},
        {"a": math.nan},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_named(value: Any) -> None:
    assert split_plain({"given": value, "other": 1}) == ({"other": 1}, ("given",))
