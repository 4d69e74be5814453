"""Small foreign pipelines draw finite pictures, the same each time, and others from other words."""

from __future__ import annotations

import pytest
import torch

from tests.reference.foreign import flux2, qwen, z_image
from tests.reference.foreign.case import ForeignCase, flatten_output

REPRESENTATIVES = (z_image.CASES[0], flux2.CASES[0], qwen.CASES[0])


@pytest.mark.parametrize("case", REPRESENTATIVES, ids=lambda case: case.name)
def test_a_case_draws_finite_numbers_and_the_same_twice(case: ForeignCase) -> None:
    pipe = case.build()
    first = case.draw(pipe)

    assert first.isfinite().all()
    assert first.std() > 0.01
    assert torch.equal(case.draw(pipe), first)
    assert torch.equal(case.draw(case.build()), first)


@pytest.mark.parametrize("case", REPRESENTATIVES, ids=lambda case: case.name)
def test_a_case_draws_something_else_from_other_words(case: ForeignCase) -> None:
    pipe = case.build()
    other = pipe(**{**case.arguments(), "prompt": "two green birds"})

    assert (flatten_output(other) - case.draw(pipe)).abs().max() > 1e-3
