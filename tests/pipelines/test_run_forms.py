from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dpnb.pipelines.run_forms import PADDED, run_form

BASE = {"prompt": "a cat", "num_inference_steps": 3, "width": 64, "eta": 0.0, "latents": None}


def form(padded: frozenset[str] = frozenset(), **changes: Any) -> Any:
    return run_form({**BASE, **changes}, padded)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 72},
        {"num_inference_steps": 4},
        {"prompt": ["a cat", "a dog"]},
        {"latents": torch.zeros(1, 4, 8, 8)},
        {"image": Image.new("RGB", (8, 8))},
        {"more": {"scale": 0.5}},
    ],
)
def test_what_memory_depends_on_is_another_form(changes: dict[str, Any]) -> None:
    assert form(PADDED, **changes) != form(PADDED)
    assert form(PADDED, **changes) == form(PADDED, **changes)
    assert hash(form(PADDED, **changes)) == hash(form(PADDED, **changes))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2, 3), torch.ones(2, 3)),
        (np.zeros((2, 3)), np.ones((2, 3))),
        (torch.manual_seed(0), torch.Generator()),
        (Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "red")),
        ([torch.zeros(2)], [torch.ones(2)]),
    ],
)
def test_values_do_not_matter(one: Any, other: Any) -> None:
    assert form(given=one) == form(given=other)


def test_words_matter_where_they_are_not_brought_to_one_length() -> None:
    assert form(PADDED, prompt="a dog in the rain") == form(PADDED)
    assert form(prompt="a dog in the rain") != form()
    assert form(PADDED, prompt=None) != form(PADDED)
    assert form(given=torch.zeros(2)) != form(given=torch.zeros(2, dtype=torch.float16))
