"""Every public name of diffusers is here, or its absence is told with another way."""

from __future__ import annotations

import pytest

import dpnb
from dpnb.absent_names import explain_absence
from tests.reference.checkpoints import diffusers

NAMES = sorted({name for names in diffusers._import_structure.values() for name in names})


def test_there_are_many() -> None:
    assert len(NAMES) > 700
    assert len({*NAMES} & {*dpnb.__all__}) > 60


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_here_or_explained(name: str) -> None:
    assert (name in dpnb.__all__) != (explain_absence(name) is not None)
