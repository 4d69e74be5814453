"""Fewer tokens in the self-attention of UNets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.errors import StrategyError
from dpnb.nn.token_merging import match_tokens
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.strategies.strategy import Effect
from tests.reference.foreign import animate, stable_diffusion
from tests.strategies.pipes import build, draw


def spaced(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 4), (2, 2)])
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.75])
def test_every_token_has_its_own_or_its_destinations_value(
    size: tuple[int, int], ratio: float
) -> None:
    height, width = size
    tokens = spaced(2, height * width, 8)
    merging = match_tokens(tokens, size, ratio)
    merged = merging.merge(tokens)
    few = -(-height // 2) * -(-width // 2)
    gone = min(int(ratio * height * width), height * width - few)
    assert merged.shape == (2, height * width - gone, 8)
    spread = merging.spread(merged)
    assert spread.shape == tokens.shape
    # each value that comes back is the mean of all tokens that have it
    for entry, before in zip(spread, tokens, strict=True):
        for value in entry:
            group = (entry == value).all(dim=1)
            assert torch.allclose(value, before[group].mean(dim=0), atol=1e-6)
    assert torch.unique(spread[0], dim=0).shape[0] == merged.shape[1]


def test_the_most_alike_are_merged_wherever_they_are() -> None:
    tokens = spaced(1, 16, 8)
    tokens[0, 15] = 3 * tokens[0, 2]  # a corner, and a destination far from it
    merging = match_tokens(tokens, (4, 4), 1 / 16)
    assert merging.merged.tolist() == [[15]]
    assert merging.destinations.tolist() == [0, 2, 8, 10]
    assert torch.allclose(merging.merge(tokens)[0, -3], 2 * tokens[0, 2])


def test_with_a_ratio_of_nothing_it_is_the_plain_run_to_the_last_bit() -> None:
    pipe = build()
    plain = draw(pipe)
    with pipe.strategies.using(dpnb.TokenMerging(0)):
        assert torch.equal(draw(pipe), plain)
    with pipe.strategies.using(dpnb.TokenMerging(0.5)):
        merged = draw(pipe)
        assert torch.equal(draw(pipe), merged)
    assert not torch.equal(merged, plain)
    assert torch.equal(draw(pipe), plain)


def attending() -> Any:
    """A small pipeline whose UNet attends at two sizes."""
    pipe = build()
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
    }
    pipe.unet = dpnb.UNet2DConditionModel(**{**ARCHITECTURES["tiny-sd"].unet, **blocks})
    return pipe


def test_latents_of_an_odd_size_are_merged_too() -> None:
    pipe, counts = attending(), list[int]()
    pipe.strategies.enable(dpnb.TokenMerging(0.5, levels=2))
    for name, layer in pipe.unet.named_modules():
        if name.endswith("attn1") and "mid" not in name:
            layer.to_q.register_forward_pre_hook(lambda _, args: counts.append(args[0].shape[1]))
    with torch.no_grad():
        pipe.unet(spaced(1, 4, 7, 5), torch.tensor(1), spaced(1, 3, 32))
    assert set(counts) == {35 - 17, 12 - 6}


def tokens_of(pipe: Any, *strategies: dpnb.TokenMerging, **size: int) -> dict[str, int]:
    """How many tokens attend to themselves in every layer."""
    counts: dict[str, int] = {}
    heard = []
    for name, layer in pipe.unet.named_modules():
        if name.endswith("attn1"):
            query = layer.to_q
            note = lambda _, args, name=name: counts.update({name: args[0].shape[1]})  # noqa: E731
            heard.append(query.register_forward_pre_hook(note))
    with pipe.strategies.using(*strategies):
        draw(pipe, steps=1, **size)
    for one in heard:
        one.remove()
    return counts


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_the_largest_maps_alone_are_merged(size: tuple[int, int]) -> None:
    pipe = attending()
    asked = {"height": size[0], "width": size[1]}
    plain = tokens_of(pipe, **asked)
    most, second = sorted(set(plain.values()), reverse=True)[:2]
    one = tokens_of(pipe, dpnb.TokenMerging(0.5), **asked)
    two = tokens_of(pipe, dpnb.TokenMerging(0.5, levels=2), **asked)
    for name, count in plain.items():
        is_merged = count == most and "mid" not in name
        assert one[name] == (count - count // 2 if is_merged else count)
        is_merged = count in (most, second) and "mid" not in name
        assert two[name] == (count - count // 2 if is_merged else count)


def test_the_largest_maps_are_merged_wherever_they_attend() -> None:
    settings = {
        **ARCHITECTURES["tiny-sd"].unet,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    }
    pipe = build()
    pipe.unet = dpnb.UNet2DConditionModel(**settings)
    plain, merged = tokens_of(pipe), tokens_of(pipe, dpnb.TokenMerging())
    largest = {name for name, count in plain.items() if count == max(plain.values())}
    assert largest == {name for name, count in plain.items() if merged[name] < count}
    assert largest == {name for name in plain if name.startswith("up_blocks.1")}


def test_what_changes_nothing_is_exact() -> None:
    assert dpnb.TokenMerging(0).effect is dpnb.GuidanceInterval(0, 1).effect is Effect.EXACT
    assert dpnb.TokenMerging().effect is Effect.APPROXIMATE
    assert dpnb.GuidanceInterval().effect is Effect.STYLISTIC


def test_a_foreign_unet_merges_as_ours_does() -> None:
    case = stable_diffusion.CASES[0]
    studio = dpnb.attach(case.build())
    plain = case.draw(studio.pipe)
    with studio.strategies.using(dpnb.TokenMerging()):
        theirs = case.draw(studio.pipe)
    with studio.strategies.using(dpnb.TokenMerging(), dpnb.ConditioningCache()):
        ours = case.draw(studio.pipe)
    assert not torch.equal(theirs, plain)
    assert (theirs - ours).abs().max() < 1e-4 < (theirs - plain).abs().max()
    with studio.strategies.using(dpnb.TokenMerging(0)):
        assert torch.equal(case.draw(studio.pipe), plain)
    assert torch.equal(case.draw(studio.pipe), plain)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ratio is 0\.8"):
        dpnb.TokenMerging(0.8)
    with pytest.raises(ValueError, match="levels"):
        dpnb.TokenMerging(levels=0)
    film = dpnb.attach(animate.CASES[0].build())
    for pipe in (build("tiny-flux"), film):
        with pytest.raises(StrategyError, match="whose feature maps attend to themselves"):
            pipe.strategies.enable(dpnb.TokenMerging())
