from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.reference import checkpoints

Written = Callable[[str], tuple[Path, Any]]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A folder that diffusers wrote for a family, and the pipeline that it wrote."""

    @cache
    def write(family: str) -> tuple[Path, Any]:
        folder = tmp_path_factory.mktemp(family)
        return folder, checkpoints.write(folder, family)

    return write
