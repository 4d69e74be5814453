"""Every public name of diffusers is here, or its absence is told with another way."""

from __future__ import annotations

import dpnb
from dpnb.absent_names import explain_absence
from tests.reference.checkpoints import diffusers

NAMES = sorted({name for names in diffusers._import_structure.values() for name in names})


def test_there_are_many() -> None:
    assert len(NAMES) > 700
    assert len({*NAMES} & {*dpnb.__all__}) > 60


def test_each_is_here_or_explained() -> None:
    absent = [name for name in NAMES if name not in dpnb.__all__]
    assert [name for name in absent if explain_absence(name, dpnb.__all__) is None] == []
