"""Caches by the names that other packages have for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import StrategyError
from dpnb.models.step_caches import FirstBlockCacheConfig
from dpnb.strategies.step_cache import StepCache
from tests.strategies.pipes import build, draw


def test_a_transformers_cache_is_a_strategy_of_its_pipeline() -> None:
    pipe = build("tiny-flux")
    plain = draw(pipe, 4)
    assert not pipe.transformer.is_cache_enabled
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=100.0))
    assert pipe.transformer.is_cache_enabled
    assert pipe.strategies.active == {StepCache(threshold=100.0, first=1, last=0)}
    assert not torch.equal(draw(pipe, 4), plain)
    pipe.transformer.disable_cache()
    assert not pipe.transformer.is_cache_enabled
    assert torch.equal(draw(pipe, 4), plain)


def test_a_lone_network_may_have_one() -> None:
    network = build("tiny-flux").transformer
    network.enable_cache(dpnb.FirstBlockCacheConfig())
    assert network.is_cache_enabled
    network.disable_cache()
    assert not network.is_cache_enabled


def test_caches_of_other_kinds_say_what_there_is() -> None:
    @dataclass
    class MagCacheConfig:
        threshold: float = 0.1

    transformer = build("tiny-flux").transformer
    with pytest.raises(NotImplementedError, match=r"dpnb\.StepCache\(interval=2\).*MagCacheConfig"):
        transformer.enable_cache(MagCacheConfig())
    assert not transformer.is_cache_enabled


@pytest.mark.parametrize(
    "kind",
    [
        dpnb.FasterCacheConfig,
        dpnb.MagCacheConfig,
        dpnb.PyramidAttentionBroadcastConfig,
        dpnb.TaylorSeerCacheConfig,
    ],
)
def test_settings_of_other_caches_can_be_made(kind: Callable[..., Any]) -> None:
    config = kind(skip_range=2)
    config.skip_range += 1
    assert config.skip_range == 3
    with pytest.raises(NotImplementedError, match=kind.__name__):
        build("tiny-flux").transformer.enable_cache(config)


def test_a_unet_says_how_its_deep_blocks_are_reused() -> None:
    unet = build("tiny-sd").unet
    with pytest.raises(StrategyError, match="StepCache\\(interval=2\\)"):
        unet.enable_cache(FirstBlockCacheConfig())
    assert not unet.is_cache_enabled


def test_a_mistake_is_told() -> None:
    with pytest.raises(ValueError, match="threshold is -1"):
        FirstBlockCacheConfig(-1)


def test_a_network_that_cannot_be_cut_leaves_the_settings_of_others_alone() -> None:
    for name in ("tiny-sd", "tiny-flux"):
        pipe = build(name)
        own = StepCache(interval=3, threshold=0.4, first=2, last=2)
        pipe.strategies.enable(own)
        with pytest.raises(StrategyError, match="vae has no lists of blocks"):
            pipe.vae.enable_cache(FirstBlockCacheConfig(0.1))
        pipe.vae.disable_cache()
        assert pipe.strategies.active == {own}
        assert not pipe.vae.is_cache_enabled


def test_a_networks_cache_keeps_what_its_pipeline_says_of_steps() -> None:
    pipe = build("tiny-flux")
    pipe.strategies.enable(StepCache(threshold=0.4, first=2, last=2))
    pipe.transformer.enable_cache(FirstBlockCacheConfig(0.1))
    assert pipe.strategies.active == {StepCache(threshold=0.1, first=2, last=2)}
    pipe.transformer.enable_cache(FirstBlockCacheConfig(0.0))
    assert not pipe.transformer.is_cache_enabled
