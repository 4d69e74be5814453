from __future__ import annotations

from typing import Any

import pytest

import dpnb
from dpnb import AttentionSlicing, FreeU, QKVFusion, VaeSlicing, VaeTiling
from dpnb.errors import StrategyError
from dpnb.models.coders import SlicedCoder, TiledCoder
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.strategies.stack import stack_of


@pytest.fixture
def pipe() -> Any:
    return dpnb.random_pipeline("tiny-sd")


def test_an_autoencoders_switches_are_its_pipelines(pipe: Any) -> None:
    heard: list[Any] = []
    pipe.strategies.subscribe(heard.append)
    pipe.vae.enable_tiling(tile=8)
    pipe.vae.enable_slicing()
    assert pipe.strategies.active == heard[-1] == {VaeTiling(8), VaeSlicing()}
    pipe.vae.disable_tiling()
    pipe.vae.disable_slicing()
    assert pipe.strategies.active == heard[-1] == frozenset()


def test_a_unets_switches_are_its_pipelines(pipe: Any) -> None:
    pipe.unet.set_attention_slice("max")
    pipe.unet.enable_freeu(0.9, 0.2, 1.2, 1.4)
    assert pipe.strategies.active == {AttentionSlicing("max"), FreeU(0.9, 0.2, 1.2, 1.4)}
    pipe.unet.set_attention_slice(None)
    pipe.unet.disable_freeu()
    assert not pipe.strategies.active


def test_slices_of_every_layer_are_alike(pipe: Any) -> None:
    unet = pipe.unet
    count = len(unet.attn_processors)
    unet.set_attention_slice([1] * count)
    assert pipe.strategies.active == {AttentionSlicing(1)}
    for sizes in ([1], [1, 2] * (count // 2)):
        with pytest.raises(ValueError, match=f"{count} layers attend here"):
            unet.set_attention_slice(sizes)
    for kind in (StrategyError, ValueError):
        with pytest.raises(kind, match="no attention here has more than"):
            unet.set_attention_slice(100)
    assert pipe.strategies.active == {AttentionSlicing(1)}


def test_fusing_one_network_leaves_the_other_as_it_is(pipe: Any) -> None:
    pipe.vae.fuse_qkv_projections()
    assert pipe.strategies.active == {QKVFusion(unet=False)}
    pipe.unet.fuse_qkv_projections()
    assert pipe.strategies.active == {QKVFusion()}
    pipe.vae.unfuse_qkv_projections()
    assert pipe.strategies.active == {QKVFusion(vae=False)}
    pipe.unet.unfuse_qkv_projections()
    assert not pipe.strategies.active


def test_a_network_of_its_own_has_them_too() -> None:
    vae = dpnb.AutoencoderKL(**ARCHITECTURES["tiny-sd"].vae)
    vae.enable_tiling()
    vae.enable_slicing()
    assert vae.coder == SlicedCoder(TiledCoder())
    assert stack_of(vae, "vae").active == {VaeTiling(), VaeSlicing()}
    vae.disable_slicing()
    vae.disable_tiling()
    assert repr(vae.coder) == "DirectCoder()"


def test_an_autoencoders_switches_are_attributes_too(pipe: Any) -> None:
    vae = pipe.vae
    assert (vae.use_tiling, vae.use_slicing, vae.tile_overlap_factor) == (False, False, 0.25)
    assert vae.tile_sample_min_size == vae.config.sample_size
    with pytest.raises(ValueError, match=r"is not tiled; call enable_tiling\(tile=8\)"):
        vae.tile_sample_min_size = 8
    vae.use_tiling = vae.use_slicing = True
    vae.tile_sample_min_size = 8
    assert pipe.strategies.active == {VaeTiling(8), VaeSlicing()}
    vae.use_tiling = True
    vae.tile_latent_min_size = 8
    assert pipe.strategies.active == {VaeTiling(8 * vae.scale), VaeSlicing()}
    assert (vae.tile_latent_min_size, vae.tile_sample_min_size) == (8, 8 * vae.scale)
    vae.tile_overlap_factor = 0.25
    with pytest.raises(ValueError, match=r"tile_overlap_factor is 0\.5"):
        vae.tile_overlap_factor = 0.5
    vae.use_tiling = vae.use_slicing = False
    assert not pipe.strategies.active
    with pytest.raises(TypeError, match="use_slicing"):
        vae.use_slicing = "yes"


@pytest.mark.parametrize("name", ["vae", "unet"])
def test_xformers_is_asked_for_one_network(pipe: Any, name: str) -> None:
    network = getattr(pipe, name)
    network.disable_xformers_memory_efficient_attention()
    with pytest.raises(StrategyError, match=r"[xX][fF]ormers"):
        network.enable_xformers_memory_efficient_attention()
    assert not pipe.strategies.active
