"""Adapters that become part of the plain weights, for good or for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.errors import StrategyError
from tests.strategies.pipes import LINK, adapter, build, draw, traces, values

pytestmark = pytest.mark.exhaustive

PIPE = build()
PIPE.unload_lora_weights()
STYLE, OTHER = adapter(PIPE), adapter(PIPE, rank=3, seed=1)
PLAIN = values(PIPE)
UNDER = [
    (),
    (dpnb.SequentialOffload(device=LINK),),
    (dpnb.ModelOffload(LINK),),
    (dpnb.LayerwiseCasting(),),
    (dpnb.QKVFusion(), dpnb.ChannelsLast()),
]


@pytest.fixture
def pipe() -> Iterator[Any]:
    yield PIPE
    PIPE.strategies.use([])
    PIPE.unload_lora_weights()
    for name, network in PIPE.components.items():
        if isinstance(network, torch.nn.Module):
            network.load_state_dict({key: PLAIN[f"{name}.{key}"] for key in network.state_dict()})


def expected(factors: dict[str, float], *components: str) -> dict[str, Tensor]:
    """The weights with these adapters added, in these components or in all."""
    made = {name: value.clone() for name, value in PLAIN.items()}
    for tensors, factor in ((STYLE, factors.get("style", 0)), (OTHER, factors.get("other", 0))):
        for name, down in tensors.items():
            layer = name.removesuffix(".lora_A.weight")
            if layer != name and (not components or name.startswith(components)):
                made[f"{layer}.weight"] += factor * tensors[f"{layer}.lora_B.weight"] @ down
    return made


def assert_weights(pipe: Any, wanted: dict[str, Tensor]) -> None:
    now = values(pipe)
    assert list(now) == list(wanted)
    for name, value in wanted.items():
        assert torch.allclose(now[name], value, atol=1e-6), name


def is_plain(pipe: Any) -> bool:
    now = values(pipe)
    return list(now) == list(PLAIN) and all(torch.equal(now[k], v) for k, v in PLAIN.items())


@pytest.mark.parametrize("plan", UNDER, ids=repr)
def test_what_is_fused_is_merged_for_good_once_it_is_unloaded(
    pipe: Any, plan: Any, tmp_path: Path
) -> None:
    pipe.strategies.use(plan)
    pipe.load_lora_weights(STYLE, "style")
    pipe.load_lora_weights(OTHER, "other")
    pipe.set_adapters(["style", "other"], [0.5, 2.0])
    with_both = draw(pipe)
    pipe.fuse_lora(lora_scale=0.5)
    pipe.unload_lora_weights()
    assert pipe.get_list_adapters() == {}
    assert pipe.fused_loras == set()
    assert pipe.strategies.active == set(plan)
    fused = draw(pipe)
    assert not torch.equal(fused, with_both)
    pipe.unfuse_lora()
    assert torch.equal(draw(pipe), fused)
    pipe.save_pretrained(tmp_path)
    pipe.strategies.use([])
    wanted = expected({"style": 0.25, "other": 1.0})
    assert_weights(pipe, wanted)
    again = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert_weights(again, wanted)
    assert torch.equal(draw(again), draw(pipe))


@pytest.mark.parametrize("plan", UNDER, ids=repr)
def test_unfusing_brings_the_plain_weights_back_to_the_bit(pipe: Any, plan: Any) -> None:
    before = traces(pipe)
    pipe.load_lora_weights(STYLE, "style")
    pipe.load_lora_weights(OTHER, "other")
    pipe.strategies.use([*plan, *pipe.strategies.active])
    with_other = draw(pipe)
    pipe.fuse_lora(lora_scale=0.5, adapter_names=["style"])
    pipe.fuse_lora()
    pipe.fuse_lora()
    assert pipe.fused_loras == {"style", "other"}
    assert pipe.num_fused_loras == 2
    with pipe.strategies.suspended():
        assert_weights(pipe, expected({"style": 0.5, "other": 1.0}))
    pipe.unfuse_lora()
    assert pipe.get_active_adapters() == ["other"]
    assert torch.equal(draw(pipe), with_other)
    pipe.fuse_lora(adapter_names=["style"])
    pipe.disable_lora()
    pipe.strategies.use([])
    assert is_plain(pipe)
    assert traces(pipe) == before


def test_components_are_fused_one_by_one(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE, "style")
    pipe.fuse_lora(components=["unet"], adapter_names=["style"], safe_fusing=True)
    assert_weights(pipe, expected({"style": 1.0}))
    pipe.strategies.use([])
    assert_weights(pipe, expected({"style": 1.0}, "unet."))
    pipe.fuse_lora("text_encoder", adapter_names="style")
    assert_weights(pipe, expected({"style": 1.0}, "unet.", "text_encoder."))
    pipe.unfuse_lora(["unet"])
    assert_weights(pipe, expected({"style": 1.0}, "text_encoder."))
    assert pipe.fused_loras == {"style"}
    pipe.unfuse_lora("text_encoder")
    assert is_plain(pipe)


def test_deleting_a_fused_one_keeps_what_it_changed(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE, "style")
    pipe.load_lora_weights(OTHER, "other")
    pipe.set_adapters(["style", "other"])
    pipe.fuse_lora()
    pipe.delete_adapters("style")
    assert pipe.get_list_adapters()["unet"] == ["other"]
    assert_weights(pipe, expected({"style": 1.0, "other": 1.0}))
    pipe.unfuse_lora()
    assert pipe.get_active_adapters() == ["other"]
    pipe.delete_adapters("other")
    assert_weights(pipe, expected({"style": 1.0}))


def test_another_one_comes_on_top_of_what_is_fused(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE, "style")
    pipe.fuse_lora()
    pipe.load_lora_weights(OTHER, "other")
    assert pipe.get_active_adapters() == ["other"]
    assert_weights(pipe, expected({"style": 1.0, "other": 1.0}))
    with pytest.raises(ValueError, match=r"'style' is fused into the weights; call unfuse_lora"):
        pipe.set_adapters(["style", "other"])
    pipe.unload_lora_weights()
    assert_weights(pipe, expected({"style": 1.0}))


def test_a_twin_sees_the_same(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE, "style")
    pipe.fuse_lora()
    twin: Any = dpnb.StableDiffusionPipeline.from_pipe(pipe)
    assert twin.fused_loras == {"style"}
    twin.unfuse_lora()
    twin.strategies.use([])
    assert is_plain(pipe)


def test_a_cast_between_is_that_of_the_plain_weights() -> None:
    pipe = build()
    weight = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight
    plain = weight.detach().clone()
    pipe.fuse_lora(adapter_names=["style"])
    pipe.to(torch.bfloat16)
    pipe.unfuse_lora()
    assert torch.equal(weight, plain.to(torch.bfloat16))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"components": 0.5}, TypeError, r"components is 0\.5; give names, or .* lora_scale=0\.5"),
        ({"components": ["vae", "nothing"]}, ValueError, "names 'nothing', which has no weights"),
        ({"components": []}, ValueError, "components is empty; name one"),
        ({"adapter_names": ["none"]}, ValueError, r"'none' is not in the list .* style, other"),
        ({"lora_scale": 1e39, "safe_fusing": True}, StrategyError, "not finite; use a smaller"),
    ],
)
def test_what_cannot_be_fused_is_refused_and_nothing_has_changed(
    pipe: Any, arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    pipe.load_lora_weights(STYLE, "style")
    pipe.load_lora_weights(OTHER, "other")
    before, now = traces(pipe), values(pipe)
    for _ in range(2):
        with pytest.raises(kind, match=message):
            pipe.fuse_lora(**arguments)
        assert traces(pipe) == before
        assert all(torch.equal(value, now[name]) for name, value in values(pipe).items())
        assert pipe.fused_loras == set()
        assert pipe.get_active_adapters() == ["other"]


def test_where_nothing_is_on_nothing_is_fused(pipe: Any) -> None:
    with pytest.raises(ValueError, match="No adapter is on; load one"):
        pipe.fuse_lora()
    pipe.unfuse_lora()
    assert is_plain(pipe)
