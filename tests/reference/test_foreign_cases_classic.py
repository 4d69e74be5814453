"""The small pipelines of diffusers' classic families draw, and draw the same again."""

from __future__ import annotations

import pytest
import torch

from tests.reference.foreign import (
    animate,
    cascades,
    conditioned,
    guided,
    kandinsky,
    stable_diffusion,
    stable_diffusion_xl,
)
from tests.reference.foreign.case import ForeignCase

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

MODULES = (animate, cascades, conditioned, guided, kandinsky, stable_diffusion, stable_diffusion_xl)

FIRST: tuple[ForeignCase, ...] = tuple(module.CASES[0] for module in MODULES)


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.name)
def test_a_case_draws_finite_numbers_and_the_same_ones_again(case: ForeignCase) -> None:
    pipe = case.build()
    drawn = case.draw(pipe)
    assert drawn.isfinite().all()
    assert drawn.std() > 0
    assert torch.equal(case.draw(pipe), drawn)
    assert torch.equal(case.draw(case.build()), drawn)


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.name)
def test_no_weight_of_a_case_is_all_zeros(case: ForeignCase) -> None:
    parts = [part for part in case.build().components.values() if isinstance(part, torch.nn.Module)]
    assert all(weight.any() for part in parts for weight in part.parameters())
