from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dpnb.errors import StrategyError
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.attention import Attention
from dpnb.strategies.projection import QKVFusion
from tests.strategies.pipes import build, draw, live_bytes, values

pytestmark = pytest.mark.exhaustive


@pytest.fixture(params=["tiny-sd", "tiny-sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


def names(pipe: Any, component: str) -> set[frozenset[str]]:
    """The kinds of projections in a component, by the names of their layers."""
    layers = pipe.strategies.networks.modules_of(Attention, component)
    return {frozenset(n for n, _ in a.named_children() if n.startswith("to_")) for a in layers}


PLAIN = frozenset({"to_q", "to_k", "to_v", "to_out"})
OWN, OTHER = frozenset({"to_qkv", "to_out"}), frozenset({"to_q", "to_kv", "to_out"})


def test_three_matrices_become_one_and_two_become_one(pipe: Any) -> None:
    pipe.fuse_qkv_projections()
    assert names(pipe, "unet") == {OWN, OTHER}
    assert names(pipe, "vae") == {OWN}
    pipe.unfuse_qkv_projections()
    assert names(pipe, "unet") == names(pipe, "vae") == {PLAIN}


def test_a_part_of_the_pipeline_can_be_fused_and_unfused(pipe: Any) -> None:
    pipe.fuse_qkv_projections(vae=False)
    assert names(pipe, "vae") == {PLAIN}
    pipe.fuse_qkv_projections(unet=False)
    assert pipe.strategies.find(QKVFusion) == QKVFusion()
    pipe.unfuse_qkv_projections(vae=False)
    assert pipe.strategies.find(QKVFusion) == QKVFusion(unet=False)
    assert names(pipe, "unet") == {PLAIN}
    with pytest.raises(StrategyError, match="fuses nothing; choose at least one"):
        pipe.strategies.enable(QKVFusion(unet=False, vae=False))


def test_layers_say_whether_their_projections_are_joined(pipe: Any) -> None:
    layers = list(pipe.strategies.networks.modules_of(Attention, "unet"))
    pipe.fuse_qkv_projections()
    assert {layer.fused_projections for layer in layers} == {True}
    pipe.unfuse_qkv_projections()
    assert {layer.fused_projections for layer in layers} == {False}


@pytest.mark.slow
def test_weights_are_never_held_twice(pipe: Any) -> None:
    before = live_bytes()
    largest = max(
        sum(getattr(a, name).weight.nbytes for name in ("to_q", "to_k", "to_v"))
        for a in pipe.strategies.networks.modules_of(Attention)
    )
    with TensorMeter() as meter:
        pipe.fuse_qkv_projections()
    fused = live_bytes()
    assert before <= fused <= before + 4096, "but for the shapes of what is empty now"
    assert meter.peak >= largest
    pipe.unfuse_qkv_projections()
    assert live_bytes() == before


def test_what_is_saved_while_fused_has_plain_keys(pipe: Any, tmp_path: Path) -> None:
    known = values(pipe)
    pipe.fuse_qkv_projections()
    pipe.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    assert {f"unet.{key}" for key in saved} == {key for key in known if key.startswith("unet.")}
    assert all(torch.equal(value, known[f"unet.{key}"]) for key, value in saved.items())
    assert names(pipe, "unet") == {OWN, OTHER}


def test_weights_changed_while_fused_stay_changed(pipe: Any) -> None:
    pipe.fuse_qkv_projections()
    layers = pipe.strategies.networks.modules_of(Attention, "unet")
    layer = next(layer for layer in layers if not layer.is_cross_attention)
    with torch.no_grad():
        layer.get_parameter("to_qkv.weight").mul_(2)
    changed = draw(pipe)
    pipe.unfuse_qkv_projections()
    torch.testing.assert_close(draw(pipe), changed)


def test_a_cast_while_fused_reaches_the_plain_layers(pipe: Any) -> None:
    pipe.fuse_qkv_projections()
    pipe.to(torch.bfloat16)
    assert names(pipe, "unet") == {OWN, OTHER}
    pipe.unfuse_qkv_projections()
    assert {p.dtype for p in pipe.unet.parameters()} == {torch.bfloat16}
