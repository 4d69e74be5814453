"""Pipelines of diffusers to attach."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.checkpoints import pipeline


@pytest.fixture
def pipe() -> Any:
    """A small Stable Diffusion pipeline of diffusers."""
    return pipeline("sd1")
