"""Joined projections of foreign components: the same picture, or a sentence beforehand."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import (
    Attention,
    AttnProcessor2_0,
    FusedAttnProcessor2_0,
    SlicedAttnProcessor,
)
from torch import Tensor, nn

import dpnb
from dpnb import ChannelsLast, ComponentFusion, ModelOffload, SequentialOffload
from dpnb.planning.valueless import ValuelessTensors
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.component_fusion import fusion_obstacle
from dpnb.strategies.stack import stack_of
from tests.pipelines.attached.foreign import draw, everything_of
from tests.reference.census import all_cases
from tests.reference.checkpoints import pipeline
from tests.strategies.foreign_owner import noise, randomize, unet

LINK = "simulated:64GiB/s"
pytestmark = pytest.mark.filterwarnings("ignore")
FUSION = ComponentFusion()
SLICED = "computed by SlicedAttnProcessor, in whose place"


class Attentive(nn.Module):
    """A network of one layer of attention, whose projections its own method joins.

    Args:
        joined: what is to compute from joined projections; the layer itself does by default.
        settings: of the layer.
    """

    def __init__(self, joined: Callable[[], object] | None = None, **settings: Any) -> None:
        super().__init__()
        self.attention = Attention(query_dim=32, heads=4, dim_head=8, **settings)
        self.make_processor = joined
        randomize(self)

    def fuse_qkv_projections(self) -> None:
        """Join them."""
        self.attention.fuse_projections()
        if self.make_processor is not None:
            self.attention.set_processor(self.make_processor())

    def forward(self, hidden_states: Tensor, others: Tensor | None = None) -> Tensor:
        """What its attention makes."""
        made: Tensor = self.attention(hidden_states, encoder_hidden_states=others)
        return made


class Deaf(FusedAttnProcessor2_0):  # type: ignore[misc]
    """Computes from joined projections, and hears half of it."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *args: Any,
        **named: Any,
    ) -> Any:
        """What attention makes of hidden states half as large."""
        return super().__call__(
            attn, hidden_states / 2, encoder_hidden_states, attention_mask, temb, *args, **named
        )


class Timed(AttnProcessor2_0):  # type: ignore[misc]
    """Reads the time."""

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **named: Any) -> Any:
        """What attention makes, whenever."""
        named.pop("time", None)
        return super().__call__(attn, hidden_states, *args, **named)


class Untimely(AttnProcessor2_0):  # type: ignore[misc]
    """Reads an argument that others do not know."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        time: Tensor | None = None,
    ) -> Any:
        """What attention makes, whenever."""
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask)


def obstacle_of(network: nn.Module) -> str:
    """Why its projections must not be joined; nothing where they may."""
    return str(stack_of(network, "transformer").obstacle(FUSION) or "")


def test_a_call_that_joined_projections_cannot_serve_is_computed_as_before() -> None:
    """Cross-attention of equal widths can be called without words, as AudioLDM does."""
    network = Attentive(FusedAttnProcessor2_0, cross_attention_dim=32)
    hidden, words = noise(1, 6, 32), noise(1, 4, 32, seed=2)
    plain, alone = network(hidden, words), network(hidden)
    stack = stack_of(network, "transformer")
    stack.enable(FUSION)
    calls: list[object] = []
    network.attention.to_kv.register_forward_hook(lambda *_: calls.append(None))
    for _ in range(2):
        assert torch.allclose(network(hidden, words), plain, atol=1e-5)
        assert torch.equal(network(hidden), alone)
    assert len(calls) == 2
    stack.use(())
    assert not network.attention._forward_pre_hooks
    assert type(network.attention.processor) is AttnProcessor2_0
    assert torch.equal(network(hidden, words), plain)


def test_what_others_exchange_meanwhile_stays() -> None:
    network = Attentive(FusedAttnProcessor2_0, cross_attention_dim=32)
    stack_of(network, "transformer").enable(FUSION)
    theirs = network.attention.processor = Timed()
    network(noise(1, 6, 32))
    assert network.attention.processor is theirs


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "another result": (lambda: Attentive(Deaf), "of AttnProcessor2_0, does not compute the same"),
    "grouped queries": (
        lambda: Attentive(FusedAttnProcessor2_0, kv_heads=2),
        "of AttnProcessor2_0, (does not compute the same|could not be tried)",
    ),
    "a state": (
        lambda: replaced(Attentive(FusedAttnProcessor2_0), SlicedAttnProcessor(2)),
        SLICED,
    ),
    "an argument": (
        lambda: replaced(Attentive(FusedAttnProcessor2_0), Untimely()),
        "computed by Untimely, in whose place",
    ),
    "nobody reads them": (Attentive, "AttnProcessor2_0, which reads separate projections also"),
    "no bias of one": (
        lambda: Attentive(FusedAttnProcessor2_0, added_kv_proj_dim=16, only_cross_attention=True),
        r"cannot join its projections \('NoneType'",
    ),
}


def replaced(network: Attentive, processor: Any) -> nn.Module:
    """The network, whose attention another computes."""
    network.attention.set_processor(processor)
    return network


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_would_draw_otherwise_is_told_beforehand(
    make: Callable[[], nn.Module], reason: str
) -> None:
    found = str(fusion_obstacle("transformer", make()))
    assert found.endswith("leave ComponentFusion out.")
    assert re.search(rf"The (attention of the )?transformer.*{reason}", found), found


CENSUS = {
    "AudioLDMPipeline": "",
    "MusicLDMPipeline": "",
    "PixArtAlphaPipeline": "",
    "CogVideoXPipeline": "",
    "AuraFlowPipeline": "",
    "WanPipeline": "",
    "StableDiffusion3Pipeline": "",
    "StableDiffusion3Pipeline (3.5)": "",
    "DreamLitePipeline": "DreamLiteAttnProcessor2_0, does not compute the same",
    "DreamLiteMobilePipeline": "DreamLiteAttnProcessor2_0, does not compute the same",
    "LTXPipeline": "LTXVideoAttnProcessor, which reads separate projections",
    "StableAudioPipeline": "The transformer joins no projections where it is told to",
    "KandinskyPipeline": "having added KV projections",
}


@pytest.mark.parametrize("name", CENSUS)
def test_pipelines_draw_the_same_or_are_told(name: str) -> None:
    case = next(case for case in all_cases() if case.name == name)
    pipe = case.build()
    studio = dpnb.attach(pipe)
    reason = studio.strategies.obstacle(FUSION)
    if CENSUS[name]:
        assert CENSUS[name] in str(reason)
        return
    assert reason is None
    plain = case.draw(case.build())
    studio.strategies.enable(FUSION)
    assert torch.allclose(case.draw(pipe), plain, atol=1e-4)
    studio.detach()
    assert torch.equal(case.draw(pipe), plain)


def test_a_store_of_maps_is_neither_filled_nor_replaced() -> None:
    """Pix2Pix Zero keeps in its processors what guides the second run."""
    case = next(case for case in all_cases() if case.name == "StableDiffusionPix2PixZeroPipeline")
    pipe = case.build()
    case.draw(pipe)
    kept = [dict(vars(processor)) for processor in pipe.unet.attn_processors.values()]
    assert "Pix2PixZeroAttnProcessor" in str(fusion_obstacle("unet", pipe.unet))
    assert [dict(vars(one)) for one in pipe.unet.attn_processors.values()] == kept


@pytest.fixture
def network() -> nn.Module:
    """A UNet that nobody has asked yet."""
    made: nn.Module = unet()
    return made


def test_a_trial_leaves_no_trace(network: Any) -> None:
    calls: list[object] = []
    network.mid_block.attentions[0].register_forward_hook(lambda *_: calls.append(None))
    for module in network.modules():
        if isinstance(module, Attention):
            module.register_forward_pre_hook(lambda *_: calls.append(None))
    stack = stack_of(network, "unet")
    network.requires_grad_(True)
    holder, state = SimpleNamespace(components={"unet": network}), torch.get_rng_state()
    before = everything_of(holder)
    assert stack.obstacle(FUSION) is None
    assert torch.equal(torch.get_rng_state(), state)
    assert everything_of(holder) == before
    assert torch.is_grad_enabled()
    assert not calls
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_trial_is_made_once(network: Any) -> None:
    stack = stack_of(network, "unet")
    stack.obstacle(FUSION)
    first = attachment_of(network).fusion_trial
    assert first is not None
    stack.obstacle(FUSION)
    assert attachment_of(network).fusion_trial is first
    network.set_attn_processor(SlicedAttnProcessor(1))
    assert SLICED in str(stack.obstacle(FUSION))


def meta(network: nn.Module) -> nn.Module:
    """Without values."""
    return network.to("meta")


def half(network: nn.Module) -> nn.Module:
    """In a small dtype."""
    return network.to(torch.bfloat16)


def train(network: nn.Module) -> nn.Module:
    """With dropout."""
    return network.train()


def compile_whole(network: nn.Module) -> nn.Module:
    """As torch compiles it."""
    compiled: Any = torch.compile(network, backend="eager")
    whole: nn.Module = compiled
    return whole


@pytest.mark.parametrize("change", [meta, half, train, compile_whole])
def test_it_is_known_whatever_state_weights_are_in(
    network: Any, change: Callable[[nn.Module], nn.Module]
) -> None:
    assert obstacle_of(change(network)) == ""
    network = change(unet())
    plain = getattr(network, "_orig_mod", network)
    plain.set_attn_processor(SlicedAttnProcessor(1))
    assert SLICED in obstacle_of(network)


@pytest.mark.parametrize("placement", [ModelOffload(device=LINK), SequentialOffload(device=LINK)])
def test_it_is_known_while_weights_are_elsewhere(placement: Any) -> None:
    pipe = pipeline("sd1")
    plain, studio = draw(pipe), dpnb.attach(pipe)
    studio.strategies.enable(placement)
    assert studio.strategies.obstacle(FUSION) is None
    assert torch.equal(draw(pipe), plain)
    pipe.unet.set_attn_processor(SlicedAttnProcessor(1))
    assert SLICED in str(fusion_obstacle("unet", pipe.unet))


def test_it_is_known_without_values() -> None:
    mode = ValuelessTensors()
    network = mode.discard_values(unet())
    with mode:
        assert obstacle_of(network) == ""


def test_a_compiled_network_draws_the_same(network: Any) -> None:
    arguments = (noise(1, 4, 16, 16), 3, noise(1, 5, 32))
    plain = network(*arguments, return_dict=False)[0]
    compiled: Any = torch.compile(network, backend="eager")
    stack = stack_of(compiled, "unet")
    stack.enable(FUSION)
    with torch.no_grad():
        assert torch.allclose(compiled(*arguments, return_dict=False)[0], plain, atol=1e-5)
    stack.use(())
    with torch.no_grad():
        assert torch.equal(compiled(*arguments, return_dict=False)[0], plain)


PARTNERS = (
    AttentionSlicing("max"),
    ChannelsLast(),
    ModelOffload(device=LINK),
    SequentialOffload(device=LINK),
    SequentialOffload(device=LINK, budget="2MiB"),
)


@pytest.mark.parametrize("name", ["AudioLDMPipeline", "WanPipeline", "StableDiffusion3Pipeline"])
@pytest.mark.parametrize("partner", PARTNERS, ids=repr)
def test_with_another_it_draws_the_same(name: str, partner: Any) -> None:
    case = next(case for case in all_cases() if case.name == name)
    pipe = case.build()
    plain, studio = case.draw(pipe), dpnb.attach(pipe)
    for first, second in ((FUSION, partner), (partner, FUSION)):
        studio.strategies.enable(first)
        studio.strategies.enable(second)
        assert torch.allclose(case.draw(pipe), plain, atol=1e-3)
        studio.strategies.use(())
    studio.detach()
    assert torch.equal(case.draw(pipe), plain)
