from __future__ import annotations

from typing import Any

import pytest

from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.presets import PRESETS, Preset
from dpnb.strategies.strategy import check
from dpnb.strategies.vae import VaeTiling
from tests.strategies.pipes import build


@pytest.fixture(scope="module")
def pipe() -> Any:
    return build()


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_what_a_preset_offers_can_be_switched_on(preset: Preset, pipe: Any) -> None:
    chosen = preset.plan(pipe.strategies)
    check(chosen.plan)
    with pipe.strategies.using(*chosen.plan):
        assert pipe.strategies.active == chosen.plan
        assert preset.plan(pipe.strategies) == chosen


def test_what_cannot_be_had_is_left_out_with_its_reason(pipe: Any) -> None:
    [large] = [preset for preset in PRESETS if preset.name == "High resolution"]
    chosen = large.plan(pipe.strategies)
    assert chosen.plan == {AttentionSlicing("auto"), VaeTiling()}
    assert "no accelerator" in chosen.left_out["Model offload"]


def test_names_and_summaries_are_there_and_different() -> None:
    assert len({preset.name for preset in PRESETS}) == len(PRESETS)
    assert all(preset.summary.endswith(".") for preset in PRESETS)
