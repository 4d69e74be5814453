"""What can be written as Python is told from what cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dpnb.widgets.literals import describe_value, is_literal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, True),
        ([0.5, (1, 2)], True),
        ({"a": [None, True]}, True),
        (torch.zeros(2), False),
        ([torch.zeros(2)], False),
        (np.float64(1.5), False),
        (Image.new("L", (1, 1)), False),
        (float("nan"), False),
        (print, False),
    ],
)
def test_literals(value: Any, expected: bool) -> None:
    assert is_literal(value) is expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(2, 3), "numbers, 2 × 3"),
        ([0.5, 1], "[0.5, 1]"),
        ([Image.new("L", (1, 1))] * 2, "2 × Image"),
        ([torch.zeros(1), 1], "2 entries"),
        ({"a": "b" * 100}, "1 × str"),
        (print, "builtin_function_or_method"),
    ],
)
def test_descriptions(value: Any, words: str) -> None:
    assert describe_value(value) == words
