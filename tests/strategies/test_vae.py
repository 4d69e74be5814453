from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb import VaeSlicing, VaeTiling
from dpnb.errors import StrategyError
from dpnb.models.coders import DirectCoder, SlicedCoder, TiledCoder
from dpnb.strategies.stack import stack_of
from dpnb.strategies.strategy import Effect, Strategy

pytestmark = pytest.mark.exhaustive


@pytest.fixture
def pipe() -> Any:
    return dpnb.random_pipeline("tiny-sd")


@pytest.mark.parametrize("first", [VaeTiling(8), VaeSlicing()])
def test_slicing_wraps_tiling_in_whatever_order_they_come(pipe: Any, first: Strategy) -> None:
    second = VaeSlicing() if isinstance(first, VaeTiling) else VaeTiling(8)
    pipe.strategies.enable(first)
    pipe.strategies.enable(second)
    assert pipe.vae.coder == SlicedCoder(TiledCoder(8))
    pipe.strategies.disable(type(first))
    pipe.strategies.disable(type(second))
    assert pipe.vae.coder == DirectCoder()


def test_what_was_in_the_slot_comes_back(pipe: Any) -> None:
    pipe.vae.coder = own = DirectCoder()
    with pipe.strategies.using(VaeTiling(spill=True), VaeSlicing()):
        assert pipe.vae.coder == SlicedCoder(TiledCoder(spill=True))
    assert pipe.vae.coder is own


def test_the_pipelines_switches_are_lines_over_the_strategies(pipe: Any) -> None:
    pipe.enable_vae_tiling(16, spill=True)
    pipe.enable_vae_slicing()
    assert pipe.strategies.active == {VaeTiling(16, spill=True), VaeSlicing()}
    pipe.enable_vae_tiling()
    assert pipe.strategies.active == {VaeTiling(), VaeSlicing()}
    pipe.disable_vae_tiling()
    pipe.disable_vae_slicing()
    pipe.disable_vae_slicing()
    assert not pipe.strategies.active


def test_only_blended_tiles_change_the_picture() -> None:
    assert VaeTiling(spill=True).effect is Effect.EXACT
    assert VaeTiling(blended=True).effect is Effect.APPROXIMATE
    assert VaeSlicing().effect is Effect.EXACT


@pytest.mark.parametrize("strategy", [VaeTiling(), VaeSlicing()])
def test_without_an_autoencoder_there_is_a_sentence(pipe: Any, strategy: Strategy) -> None:
    stack = stack_of(dpnb.UNet2DConditionModel(**pipe.unet.config), "unet")
    with pytest.raises(StrategyError, match="needs an autoencoder of dpnb's"):
        stack.enable(strategy)
    assert not stack.active


def test_a_tile_that_does_not_fit_changes_nothing(pipe: Any) -> None:
    with pytest.raises(StrategyError, match="a multiple of 2 pixels, and at least 8"):
        pipe.enable_vae_tiling(9, blended=True)
    with pytest.raises(ValueError, match="tile is 0"):
        pipe.enable_vae_tiling(0)
    assert pipe.vae.coder == DirectCoder()


def test_a_run_gives_the_same_pictures(pipe: Any) -> None:
    def draw() -> torch.Tensor:
        return torch.as_tensor(
            pipe(
                ["a", "b"],
                num_inference_steps=1,
                output_type="np",
                generator=torch.Generator().manual_seed(0),
            ).images
        )

    plain = draw()
    with pipe.strategies.using(VaeTiling(), VaeSlicing()):
        torch.testing.assert_close(draw(), plain, rtol=0, atol=1e-5)
    assert torch.equal(draw(), plain)


@torch.no_grad()
@pytest.mark.parametrize(
    "other",
    [
        dpnb.QKVFusion(),
        dpnb.AttentionSlicing("max"),
        dpnb.ChannelsLast(),
        dpnb.LayerwiseCasting("bfloat16"),
    ],
)
def test_strips_go_with_every_other_strategy(pipe: Any, other: Strategy) -> None:
    z = torch.randn(2, 4, 9, 7)
    with pipe.strategies.using(other):
        plain = pipe.vae.decode(z).sample
    with pipe.strategies.using(other, VaeTiling(5)):
        torch.testing.assert_close(pipe.vae.decode(z).sample, plain, rtol=0, atol=1e-5)
