from __future__ import annotations

from typing import Any

import pytest

from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def test_there_is_no_cache(pipe: Any) -> None:
    with pytest.raises(NotImplementedError, match="leave the cache out"):
        pipe.transformer = pipe.unet.enable_cache(None)
    pipe.unet.disable_cache()
    assert not pipe.unet.is_cache_enabled
