"""When Python looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dpnb
from dpnb.garbage import pause_garbage_collection
from dpnb.models.unet import UNet2DConditionModel


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_comes_back_with_the_last_who_paused_it() -> None:
    with pause_garbage_collection():
        assert not gc.isenabled()
        with pytest.raises(KeyError), pause_garbage_collection():
            raise KeyError
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_stays_off_where_somebody_switched_it_off() -> None:
    gc.disable()
    with pause_garbage_collection():
        pass
    assert not gc.isenabled()


def test_nothing_is_looked_for_while_a_pipeline_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dpnb.random_pipeline("tiny-sd").save_pretrained(tmp_path)
    seen: list[bool] = []
    built = UNet2DConditionModel.__init__

    def build(self: UNet2DConditionModel, *args: Any, **settings: Any) -> None:
        seen.append(gc.isenabled())
        built(self, *args, **settings)

    monkeypatch.setattr(UNet2DConditionModel, "__init__", build)
    dpnb.StableDiffusionPipeline.from_pretrained(tmp_path)
    UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    assert seen == [False, False]
    assert gc.isenabled()
