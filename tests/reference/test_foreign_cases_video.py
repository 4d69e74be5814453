"""Small foreign pipelines of film and sound draw finite numbers, the same each time."""

from __future__ import annotations

import pytest
import torch

from tests.reference.foreign import audio, ltx, unet_video, wan
from tests.reference.foreign.case import ForeignCase, flatten_output

pytestmark = pytest.mark.filterwarnings("ignore")
"""Several of these classes are deprecated, and say so."""

SPOKEN_TO = (wan.CASES[1], ltx.CASES[6], audio.CASES[0])
REPRESENTATIVES = (*SPOKEN_TO, unet_video.CASES[-1])


@pytest.mark.parametrize("case", REPRESENTATIVES, ids=lambda case: case.name)
def test_a_case_draws_finite_numbers_and_the_same_twice(case: ForeignCase) -> None:
    pipe = case.build()
    first = case.draw(pipe)

    assert first.isfinite().all()
    assert first.std() > 0.01
    assert torch.equal(case.draw(pipe), first)
    assert torch.equal(case.draw(case.build()), first)


@pytest.mark.parametrize("case", SPOKEN_TO, ids=lambda case: case.name)
def test_a_case_draws_something_else_from_other_words(case: ForeignCase) -> None:
    pipe = case.build()
    other = flatten_output(pipe(**{**case.arguments(), "prompt": "two green birds"}))

    assert (other - case.draw(pipe)).abs().max() > 1e-3
