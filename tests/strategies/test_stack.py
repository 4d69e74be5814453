from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import dpnb
from dpnb.errors import StrategyError
from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.networks import Networks
from dpnb.strategies.plans import plan_from_json, plan_to_python
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.stack import StrategyStack, stack_of
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo
from tests.strategies.pipes import ONE_EACH, build, draw, traces, values

pytestmark = pytest.mark.exhaustive


class Impossible(Strategy):
    """Fails after its first edit."""

    slot = Slot.CODER_WRAPPER

    def apply(self, networks: Networks, undo: Undo) -> None:
        """Edit, then fail."""
        for _, network in networks.items("unet"):
            undo.set(network, "time_embedder", None)
        raise ZeroDivisionError


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def twin_of(pipe: Any) -> Any:
    twin = dpnb.StableDiffusionPipeline.from_pipe(pipe)
    twin.set_progress_bar_config(disable=True)
    return twin


# --- plans ---


def test_what_is_asked_for_may_be_one_strategy_by_itself(pipe: Any) -> None:
    pipe.strategies.use(FreeU())
    assert pipe.strategies.active == {FreeU()}
    pipe.strategies.disable(FreeU(0, 0, 1, 1))
    assert not pipe.strategies.active
    for ask in (pipe.strategies.use, pipe.strategies.disable, pipe.strategies.obstacle):
        for wrong in (5, "FreeU", int, None, [["FreeU"]]):
            with pytest.raises(TypeError, match="is not a strategy; "):
                ask(wrong)


def test_a_plan_is_all_or_nothing(pipe: Any) -> None:
    pipe.strategies.use([FreeU(), AttentionSlicing()])
    before = traces(pipe)
    heard: list[Any] = []
    pipe.strategies.subscribe(heard.append)
    with pytest.raises(ZeroDivisionError):
        pipe.strategies.use([QKVFusion(), Impossible()])
    assert pipe.strategies.active == {FreeU(), AttentionSlicing()}
    assert {k: [item[0] for item in v[0]] for k, v in traces(pipe).items()} == {
        k: [item[0] for item in v[0]] for k, v in before.items()
    }
    assert heard == []


def test_two_of_one_slot_contradict_each_other(pipe: Any) -> None:
    with pytest.raises(StrategyError) as caught:
        pipe.strategies.use([AttentionSlicing(), AttentionSlicing(1)])
    assert str(caught.value) == (
        "AttentionSlicing() and AttentionSlicing(slice_size=1) contradict each other: both decide "
        "the kernel wrapper; choose one of them."
    )
    assert pipe.strategies.active == frozenset()


def test_only_strategies_make_a_plan(pipe: Any) -> None:
    with pytest.raises(TypeError, match="'freeu' is not a strategy"):
        pipe.strategies.use(["freeu"])


def test_within_a_block_a_plan_is_lent(pipe: Any) -> None:
    pipe.strategies.enable(FreeU())
    with pipe.strategies.using(AttentionSlicing()):
        assert pipe.strategies.active == {AttentionSlicing()}
    assert pipe.strategies.active == {FreeU()}


def fail_within(pipe: Any) -> None:
    """Leave the block by an error."""
    with pipe.strategies.using(AttentionSlicing()):
        raise KeyError


def test_a_block_that_fails_gives_back_what_was_on(pipe: Any) -> None:
    pipe.strategies.enable(FreeU())
    with pytest.raises(KeyError):
        fail_within(pipe)
    assert pipe.strategies.active == {FreeU()}


def test_listeners_hear_every_change_once(pipe: Any) -> None:
    heard: list[Any] = []
    stop = pipe.strategies.subscribe(heard.append)
    pipe.enable_attention_slicing()
    pipe.enable_attention_slicing()
    pipe.to("cpu")
    pipe.disable_attention_slicing()
    stop()
    pipe.enable_attention_slicing()
    assert heard == [{AttentionSlicing()}, frozenset()]


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(ValueError, match="'Magic' is no strategy; there are"):
        plan_from_json([{"strategy": "Magic"}])
    with pytest.raises(ValueError, match="FreeU has no s9; it has s1, s2, b1, b2"):
        plan_from_json([{"strategy": "FreeU", "s9": 1}])


def test_a_plan_prints_as_python() -> None:
    assert plan_to_python([]) == "pipe.strategies.use([])"
    assert plan_to_python([AttentionSlicing("max"), FreeU(b1=1.3)], "p") == (
        "from dpnb import AttentionSlicing, FreeU\n\n"
        "p.strategies.use([\n    AttentionSlicing(slice_size='max'),\n    FreeU(b1=1.3),\n])"
    )


# --- pipelines that share networks ---


def test_pipelines_that_share_a_network_share_what_is_on(pipe: Any) -> None:
    pipe.strategies.enable(FreeU())
    twin = twin_of(pipe)
    assert twin.strategies.active == {FreeU()}
    heard: list[Any] = []
    pipe.strategies.subscribe(heard.append)
    twin.enable_attention_slicing()
    assert pipe.strategies.active == {FreeU(), AttentionSlicing()}
    assert heard == [pipe.strategies.active]
    assert torch.equal(draw(pipe), draw(twin))


def test_a_pipeline_that_is_forgotten_takes_nothing_away(pipe: Any) -> None:
    before = traces(pipe)
    twin = twin_of(pipe)
    twin.strategies.enable(QKVFusion())
    gone = weakref.ref(twin)
    del twin
    gc.collect()
    assert gone() is None
    assert pipe.strategies.active == {QKVFusion()}
    pipe.strategies.use([])
    assert traces(pipe) == before


def test_pipelines_that_share_nothing_are_strangers(pipe: Any) -> None:
    other = build("tiny-sd")
    other.strategies.enable(FreeU())
    assert pipe.strategies.active == frozenset()


def test_two_plans_meet_when_a_component_is_shared(pipe: Any) -> None:
    other = build("tiny-sd")
    pipe.strategies.use([AttentionSlicing(1)])
    other.strategies.use([FreeU(), AttentionSlicing("max")])
    pipe.vae = other.vae
    assert pipe.strategies.active == other.strategies.active == {FreeU(), AttentionSlicing(1)}
    pipe.strategies.use([])
    assert other.strategies.active == frozenset()


def test_a_component_that_is_replaced_is_as_it_was(pipe: Any) -> None:
    former, before = pipe.unet, traces(pipe)
    pipe.strategies.use([QKVFusion(), FreeU()])
    other = build("tiny-sd")
    pipe.unet = other.unet
    assert pipe.strategies.active == {QKVFusion(), FreeU()}
    assert hasattr(pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1, "to_qkv")
    pipe.strategies.use([])
    pipe.unet = former
    assert traces(pipe) == before


def test_a_component_that_cannot_take_part_is_refused(pipe: Any) -> None:
    former = pipe.unet
    pipe.strategies.enable(FreeU())
    with pytest.raises(StrategyError, match="FreeU needs a UNet"):
        pipe.unet = nn.Linear(2, 2)
    assert pipe.unet is former
    assert pipe.strategies.active == {FreeU()}
    draw(pipe)


# --- what else a pipeline does ---


@pytest.mark.parametrize("strategy", ONE_EACH, ids=repr)
def test_what_is_saved_does_not_depend_on_what_is_on(
    strategy: Strategy, pipe: Any, tmp_path: Path
) -> None:
    known, plain = values(pipe), draw(pipe)
    pipe.strategies.enable(strategy)
    pipe.save_pretrained(tmp_path)
    assert pipe.strategies.active == {strategy}
    loaded = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    again = values(loaded)
    assert all(torch.equal(again[key], known[key]) for key in known)
    assert torch.equal(draw(loaded), plain)


@pytest.mark.parametrize("strategy", ONE_EACH, ids=repr)
def test_a_network_is_saved_as_a_pipeline_is(strategy: Strategy, pipe: Any, tmp_path: Path) -> None:
    known = {key: value.clone() for key, value in pipe.unet.state_dict().items()}
    pipe.strategies.enable(strategy)
    pipe.unet.save_pretrained(tmp_path)
    assert pipe.strategies.active == {strategy}
    loaded = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    assert loaded.keys() == known.keys()
    assert all(torch.equal(loaded[key], known[key]) for key in known)


@pytest.mark.parametrize("strategy", [*ONE_EACH, dpnb.Quantization()], ids=repr)
def test_a_pipeline_can_be_cast_with_anything_on(strategy: Strategy, pipe: Any) -> None:
    pipe.strategies.enable(strategy)
    if strategy == dpnb.Quantization():
        with pytest.raises(StrategyError, match="weights of text_encoder do not work in float64"):
            pipe.to(torch.float64)
        assert pipe.strategies.active == frozenset()
    else:
        pipe.to(torch.float64)
    if strategy in pipe.strategies.active:
        pipe.strategies.disable(type(strategy))
    assert {p.dtype for p in pipe.unet.parameters()} == {torch.float64}
    fresh = build("tiny-sd").to(torch.float64)
    now, expected = values(pipe), values(fresh)
    assert all(torch.equal(now[key], expected[key]) for key in expected)


@pytest.mark.parametrize("strategy", ONE_EACH, ids=repr)
def test_a_forgotten_pipeline_is_gone(strategy: Strategy) -> None:
    pipe = build("tiny-sd")
    pipe.strategies.enable(strategy)
    draw(pipe)
    held = [weakref.ref(pipe), weakref.ref(pipe.unet), weakref.ref(pipe.unet.conv_in.weight)]
    del pipe
    gc.collect()
    assert [ref() for ref in held] == [None] * 3


# --- networks without a pipeline ---


def test_a_lone_network_has_strategies_too() -> None:
    unet = build("tiny-sd").unet
    stack = stack_of(unet, "unet")
    stack.enable(QKVFusion())
    assert stack_of(unet, "unet").active == {QKVFusion()}
    assert hasattr(unet.mid_block.attentions[0].transformer_blocks[0].attn1, "to_qkv")
    stack.use([])


def test_a_lone_network_brings_what_is_on_into_a_pipeline(pipe: Any) -> None:
    unet = build("tiny-sd").unet
    gc.collect()
    stack_of(unet, "unet").enable(FreeU())
    pipe.unet = unet
    assert pipe.strategies.active == {FreeU()}
    assert stack_of(unet, "unet").active == {FreeU()}


def test_a_stack_wants_a_member_that_lives() -> None:
    unet = build("tiny-sd").unet
    gc.collect()
    stack = stack_of(unet, "unet")
    assert isinstance(stack, StrategyStack)
    gone = weakref.ref(unet)
    del unet
    gc.collect()
    assert gone() is None
    assert list(stack.networks.items()) == []
