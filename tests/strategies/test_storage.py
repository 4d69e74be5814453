from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import dpnb
from dpnb.errors import StrategyError
from dpnb.strategies.storage import (
    SMALLEST,
    STORAGE_DTYPES,
    ChannelsLast,
    LayerwiseCasting,
    find_precise_layers,
)
from dpnb.strategies.strategy import Strategy
from tests.reference.foreign import audio
from tests.strategies.foreign_owner import STUDIOS, PartsStack
from tests.strategies.pipes import build, draw, live_bytes, networks

pytestmark = pytest.mark.exhaustive


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def large_weights(pipe: Any) -> list[nn.Parameter]:
    """Those of layers inside the networks that can be stored small."""
    return [
        parameter
        for name, network in networks(pipe).items()
        for key, parameter in network.named_parameters()
        if name in ("unet", "vae")
        and key.endswith(".weight")
        and key.count(".") > 1
        and parameter.ndim > 1
        and parameter.numel() * 4 >= SMALLEST
    ]


def used(pipe: Any, weight: nn.Parameter) -> bool:
    """Drawing uses all but the encoder's."""
    return all(weight is not other for other in pipe.vae.encoder.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", STORAGE_DTYPES)
def test_large_weights_are_stored_small(pipe: Any, dtype: str) -> None:
    draw(pipe)
    weights, before = large_weights(pipe), live_bytes()
    assert len(weights) > 10
    full = sum(weight.nbytes for weight in weights)
    pipe.enable_layerwise_casting(dtype)
    assert {weight.dtype for weight in weights} == {STORAGE_DTYPES[dtype]}
    assert before - live_bytes() == full - full // 4 * STORAGE_DTYPES[dtype].itemsize
    draw(pipe)
    assert {weight.dtype for weight in weights} == {STORAGE_DTYPES[dtype]}
    pipe.disable_layerwise_casting()
    assert {weight.dtype for weight in weights} == {torch.float32}
    assert live_bytes() == before


def test_only_one_weight_is_wide_at_a_time(pipe: Any) -> None:
    weights, seen = large_weights(pipe), []
    pipe.enable_layerwise_casting()

    def look(module: nn.Module, *_: Any) -> None:
        wide = [weight for weight in weights if weight.dtype == torch.float32]
        assert all(weight is module.weight for weight in wide)
        seen.extend(wide)

    with nn.modules.module.register_module_forward_hook(look):
        draw(pipe, steps=1)
    expected = {id(weight) for weight in weights if used(pipe, weight)}
    assert {id(weight) for weight in seen} == expected


def test_a_layer_that_fails_is_stored_small_again(pipe: Any) -> None:
    weights = large_weights(pipe)
    pipe.enable_layerwise_casting()
    layer = pipe.unet.mid_block.resnets[0].conv1
    handle = layer.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw(pipe)
    handle.remove()
    assert {weight.dtype for weight in weights} == {torch.float8_e4m3fn}


def test_the_pipeline_still_computes_in_its_dtype(pipe: Any) -> None:
    pipe.enable_layerwise_casting(torch.float8_e5m2)
    assert pipe.unet.dtype == torch.float32
    assert pipe.dtype == torch.float32


def test_weights_as_small_already_are_left_alone(pipe: Any) -> None:
    pipe.to(torch.bfloat16)
    with pytest.raises(StrategyError, match="No layer here would be smaller in bfloat16"):
        pipe.enable_layerwise_casting("bfloat16")


def test_a_network_of_small_weights_alone_is_stored_small_too() -> None:
    pipe = build("tiny-sd")
    pipe.unet = dpnb.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(2, 4),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=pipe.unet.config.cross_attention_dim,
        norm_num_groups=1,
    )
    layer = pipe.unet.mid_block.resnets[0].conv1
    assert layer.weight.nbytes < SMALLEST
    pipe.unet.enable_layerwise_casting()
    assert layer.weight.dtype == torch.float8_e4m3fn
    pipe.disable_layerwise_casting()
    assert layer.weight.dtype == torch.float32


def test_a_storage_dtype_is_one_of_four() -> None:
    with pytest.raises(ValueError, match="storage_dtype is 'int8'; use one of float8_e4m3fn"):
        LayerwiseCasting("int8")


def test_channels_last_orders_every_convolution(pipe: Any) -> None:
    pipe.strategies.enable(ChannelsLast())
    convs = [m for m in pipe.unet.modules() if isinstance(m, nn.Conv2d)]
    assert convs
    assert all(c.weight.is_contiguous(memory_format=torch.channels_last) for c in convs)
    pipe.strategies.disable(ChannelsLast)
    assert all(c.weight.is_contiguous() for c in convs)


# --- networks of others ---


@pytest.mark.parametrize(
    ("studio", "kept"),
    [("Z-Image", ("t_embedder", "cap_embedder")), ("Wan", ("condition_embedder", "patch_embed"))],
)
def test_what_a_network_says_must_not_be_cast_is_not(studio: str, kept: tuple[str, ...]) -> None:
    owner = STUDIOS[studio]()
    network = owner.pipe.transformer
    owner.strategies.enable(LayerwiseCasting())
    small = [n for n, p in network.named_parameters() if p.dtype == torch.float8_e4m3fn]
    assert len(small) > 10
    assert not [name for name in small if any(part in name for part in kept)]
    assert find_precise_layers(network) >= {network.get_submodule(kept[0])}


def test_islands_of_float32_stay_what_they_are() -> None:
    network: Any = STUDIOS["Wan"]().pipe.transformer.to(torch.bfloat16)
    island = network.condition_embedder.time_embedder.to(torch.float32)
    strategies = PartsStack(transformer=network)
    strategies.enable(LayerwiseCasting())
    assert {p.dtype for p in island.parameters()} == {torch.float32}


def test_encoders_of_prompts_keep_their_dtype() -> None:
    studio = STUDIOS["Stable Diffusion"]()
    studio.strategies.enable(LayerwiseCasting())
    assert {p.dtype for p in studio.pipe.text_encoder.parameters()} == {torch.float32}


class Convolutions(nn.Module):
    """Over one, two and three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv1d(4, 4, 3)
        self.two = nn.Conv2d(4, 4, 3)
        self.three = nn.Conv3d(4, 4, 3)
        self.three.weight.data = self.three.weight.data.transpose(2, 3).contiguous().transpose(2, 3)
        self.transposed = nn.ConvTranspose3d(4, 4, 3)


def test_channels_are_last_in_every_dimension() -> None:
    network = Convolutions()
    before = {k: (v, v.clone(), v.stride()) for k, v in network.named_parameters()}
    strategies = PartsStack(transformer=network)
    strategies.enable(ChannelsLast())
    assert network.two.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.three.weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert network.one.weight.stride() == before["one.weight"][2]
    strategies.disable(ChannelsLast)
    for name, parameter in network.named_parameters():
        held, values, stride = before[name]
        assert parameter is held
        assert torch.equal(parameter, values)
        assert parameter.stride() == stride


@pytest.mark.parametrize("strategy", [LayerwiseCasting("bfloat16"), ChannelsLast()], ids=repr)
def test_weights_that_are_made_of_others_are_left_alone(strategy: Strategy) -> None:
    inner: Any = nn.Sequential(nn.Conv2d(8, 64, 3), weight_norm(nn.Conv2d(64, 64, 3)))
    network = nn.Sequential(nn.Conv2d(8, 8, 3), inner)  # the first tells which dtype it has
    plain, picture = network(torch.ones(1, 8, 9, 9)), torch.ones(1, 8, 9, 9)
    strategies = PartsStack(transformer=network)
    strategies.enable(strategy)
    assert inner[0].weight.dtype == torch.bfloat16 or not inner[0].weight.is_contiguous()
    assert inner[1].weight.dtype == torch.float32
    assert (network(picture) - plain).abs().max() < 0.05
    strategies.use([])
    assert torch.equal(network(picture), plain)


@pytest.mark.parametrize("name", STUDIOS)
def test_foreign_pipelines_draw_with_channels_last(name: str) -> None:
    studio = STUDIOS[name]()
    plain = studio.draw()
    with studio.strategies.using(ChannelsLast()):
        torch.testing.assert_close(studio.draw(), plain, rtol=0, atol=1e-4)
    assert torch.equal(studio.draw(), plain)


def test_without_convolutions_there_are_no_channels() -> None:
    reason = PartsStack(transformer=nn.Linear(2, 2), text=nn.Conv1d(2, 2, 1)).obstacle(
        ChannelsLast()
    )
    assert reason == "ChannelsLast needs convolutions in a UNet or a VAE; there are none here."


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_a_weight_that_is_computed_anew_in_every_call_is_left_alone() -> None:
    studio = dpnb.attach(next(c for c in audio.CASES if c.name == "StableAudioPipeline").build())
    normed = [layer for layer in studio.pipe.vae.modules() if "weight_g" in layer._parameters]
    assert normed
    with studio.strategies.using(LayerwiseCasting()):
        stored = {p.dtype for layer in normed for p in layer.parameters()}
    assert stored == {torch.float32}


def test_maps_stay_in_one_layout(pipe: Any) -> None:
    """With channels innermost no layer is given a map, or makes one, in the other layout."""
    others: list[str] = []

    def look(name: str, is_first: bool, layer: nn.Module, given: Any, made: Any) -> None:
        maps = [made] if is_first else [*given, made]
        for x in maps:
            is_map = isinstance(x, Tensor) and x.dim() == 4 and min(x.shape[1:]) > 1
            if is_map and not x.is_contiguous(memory_format=torch.channels_last):
                others.append(name)

    pipe.strategies.enable(ChannelsLast())
    hooks = [
        layer.register_forward_hook(partial(look, f"{part}.{name}", name.endswith("conv_in")))
        for part, network in (("unet", pipe.unet), ("vae.decoder", pipe.vae.decoder))
        for name, layer in network.named_modules()
        if name
    ]
    pipe("a red fox", num_inference_steps=1, height=64, width=64)
    for hook in hooks:
        hook.remove()
    assert others == []
