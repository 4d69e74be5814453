from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from dpnb.errors import StrategyError
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.attention_calls import AttentionCall
from dpnb.planning.valueless import ValuelessTensors
from dpnb.strategies.attention import AttentionSlicing, XFormers, most_heads
from dpnb.strategies.attention_mode import replace_attention
from dpnb.strategies.placement import SequentialOffload
from dpnb.strategies.undo import Undo
from tests.strategies.conftest import Ops
from tests.strategies.foreign_owner import LINK, STUDIOS, PartsStack, Studio, clip, noise, unet


class Attending(nn.Module):
    """A network of nobody's, which attends by torch's function."""

    def __init__(self, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.project = nn.Linear(32, 96)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, tokens, 32]`."""
        query, key, value = self.project(x).unflatten(-1, (3, 8, 4)).permute(2, 0, 3, 1, 4)
        if self.inner is not None:
            x = self.inner(x)
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + attended.transpose(1, 2).flatten(2)

    def encode(self, x: Tensor) -> Tensor:
        """The same by another name."""
        return self.forward(x)


class Watched:
    """Attends as torch does, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, call: AttentionCall) -> Tensor:
        self.calls += 1
        return call.compute()


@pytest.fixture
def network() -> Attending:
    torch.manual_seed(0)
    return Attending()


@pytest.fixture
def watched() -> Watched:
    return Watched()


X = noise(1, 9, 32)


def test_every_method_is_reached_until_it_is_undone(network: Attending, watched: Watched) -> None:
    before = vars(network).copy()
    with Undo() as undo:
        replace_attention(network, watched, undo)
        network(X)
        network.forward(X)
        network.encode(X)
        assert watched.calls == 3
    assert vars(network) == before
    network(X)
    F.scaled_dot_product_attention(*noise(3, 1, 2, 4, 4))
    assert watched.calls == 3


def test_only_calls_of_the_network_are_reached(network: Attending, watched: Watched) -> None:
    other = Attending()
    with Undo() as undo:
        replace_attention(network, watched, undo)
        other(X)
        network(X)
        other(X)
    assert watched.calls == 1


def test_networks_within_one_another_are_served_each_by_its_own(watched: Watched) -> None:
    inner, other = Attending(), Watched()
    network = Attending(inner)
    with Undo() as undo:
        replace_attention(network, watched, undo)
        replace_attention(inner, other, undo)
        network(X)
    assert (watched.calls, other.calls) == (2, 1)


def test_what_is_switched_on_later_is_asked_last(network: Attending, watched: Watched) -> None:
    with Undo() as undo:
        replace_attention(network, lambda call: call.query, undo)
        replace_attention(network, watched, undo)
        network(X)
    assert watched.calls == 0


def test_a_call_that_fails_leaves_no_mode(network: Attending, watched: Watched) -> None:
    def fail(_: AttentionCall) -> Tensor:
        raise ZeroDivisionError

    with Undo() as undo:
        replace_attention(network, fail, undo)
        with pytest.raises(ZeroDivisionError):
            network(X)
        F.scaled_dot_product_attention(*noise(3, 1, 2, 4, 4))
        with pytest.raises(ZeroDivisionError):
            network(X)
    network(X)


def test_threads_do_not_see_one_another(network: Attending, watched: Watched) -> None:
    results: list[Tensor] = []
    with Undo() as undo:
        replace_attention(network, watched, undo)
        threads = [Thread(target=lambda: results.append(network(X))) for _ in range(4)]
        for thread in threads:
            thread.start()
        F.scaled_dot_product_attention(*noise(3, 1, 2, 4, 4))
        for thread in threads:
            thread.join()
    assert watched.calls == 4
    assert all(torch.equal(result, results[0]) for result in results)


def test_gradients_pass(network: Attending) -> None:
    gradients = []
    for slices in (False, True):
        network.zero_grad()
        with Undo() as undo, sdpa_kernel(SDPBackend.MATH):
            if slices:
                AttentionSlicing("max").apply(PartsStack(unet=network).networks, undo)
            network(X).square().sum().backward()
        gradients.append(network.project.weight.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", ["forward", "encode"])
def test_a_compiled_network_is_reached_too(network: Attending, watched: Watched, name: str) -> None:
    compiled: Any = torch.compile(network.requires_grad_(False), backend="eager")
    plain = getattr(compiled, name)(X)
    before = {**vars(compiled), "network": dict(vars(network))}
    with Undo() as undo:
        replace_attention(compiled, watched, undo)
        torch.testing.assert_close(getattr(compiled, name)(X), plain)
    assert watched.calls >= 1
    assert {**vars(compiled), "network": dict(vars(network))} == before
    torch.testing.assert_close(getattr(compiled, name)(X), plain)


# --- slicing ---


def math_of(draw: Callable[[], Tensor]) -> Tensor:
    """What is drawn where torch builds attention matrices."""
    with sdpa_kernel(SDPBackend.MATH):
        return draw()


@pytest.fixture(params=STUDIOS)
def studio(request: pytest.FixtureRequest) -> Studio:
    return STUDIOS[request.param]()


@pytest.mark.parametrize("size", ["auto", "max", 1])
def test_a_foreign_pipeline_draws_in_slices(studio: Studio, size: Any) -> None:
    whole, plain = studio.draw(), math_of(studio.draw)
    with studio.strategies.using(AttentionSlicing(size)):
        torch.testing.assert_close(math_of(studio.draw), plain, rtol=0, atol=2e-5)
        assert torch.equal(studio.draw(), whole)
    assert torch.equal(math_of(studio.draw), plain)


def test_slicing_lowers_the_peak_where_torch_builds_the_matrix() -> None:
    network, x = unet(), noise(1, 4, 32, 32)
    strategies = PartsStack(unet=network)

    def peak(backend: SDPBackend) -> Any:
        with torch.no_grad(), sdpa_kernel(backend), TensorMeter() as meter:
            network(x, 1, noise(1, 8, 32))
        return meter.peak

    whole, fused = peak(SDPBackend.MATH), peak(SDPBackend.FLASH_ATTENTION)
    with strategies.using(AttentionSlicing("max")):
        assert peak(SDPBackend.MATH) < 0.7 * whole
        assert peak(SDPBackend.FLASH_ATTENTION) == fused
    assert peak(SDPBackend.MATH) == whole


def test_slices_are_planned_without_values() -> None:
    network = unet()
    strategies = PartsStack(unet=network)

    def peak() -> Any:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            mode, meter = ValuelessTensors(), TensorMeter()
            mode.discard_values(network)
            x = mode.empty((1, 4, 32, 32), torch.float32)
            with mode.count_with(meter):
                network(x, 1, mode.empty((1, 8, 32), torch.float32))
        return meter.peak

    whole = peak()
    with strategies.using(AttentionSlicing("max")):
        assert peak() < 0.7 * whole


def test_nothing_is_left_while_nothing_is_on(studio: Studio) -> None:
    before = [vars(network).copy() for _, network in studio.strategies.networks.items()]
    studio.strategies.enable(AttentionSlicing())
    studio.strategies.disable(AttentionSlicing)
    assert [vars(network) for _, network in studio.strategies.networks.items()] == before


def test_slices_and_streamed_weights_go_together() -> None:
    studio = STUDIOS["FLUX"]()
    plain = math_of(studio.draw)
    with studio.strategies.using(AttentionSlicing(1), SequentialOffload(device=LINK)):
        torch.testing.assert_close(math_of(studio.draw), plain, rtol=0, atol=2e-5)
    assert torch.equal(math_of(studio.draw), plain)


def test_heads_of_foreign_layers_are_the_limit() -> None:
    strategies = STUDIOS["Stable Diffusion"]().strategies
    assert most_heads(strategies.networks) == 4
    with pytest.raises(StrategyError, match="has more than 4 heads"):
        strategies.enable(AttentionSlicing(5))


def test_attention_that_multiplies_by_itself_is_named() -> None:
    network = unet()
    strategies = PartsStack(unet=network)
    network.set_attn_processor(AttnProcessor())
    for strategy in (AttentionSlicing(), XFormers()):
        reason = strategies.obstacle(strategy)
        assert reason is not None
        assert reason.startswith("The attention of unet is computed by AttnProcessor, which never")
    network.set_attn_processor(AttnProcessor2_0())
    assert strategies.obstacle(AttentionSlicing()) is None


def test_a_text_encoder_alone_has_nothing_to_slice() -> None:
    reason = PartsStack(text_encoder=clip()).obstacle(AttentionSlicing())
    assert reason == (
        "Attention slicing needs a denoiser or an autoencoder with attention; there is none here."
    )


# --- xFormers ---


def test_xformers_computes_what_it_can(studio: Studio, xformers: Ops) -> None:
    plain = studio.draw()
    studio.strategies.enable(XFormers())
    xformers.asked.clear()
    torch.testing.assert_close(studio.draw(), plain, rtol=0, atol=2e-5)
    assert len(xformers.asked) > 3
    studio.strategies.disable(XFormers)
    assert torch.equal(studio.draw(), plain)


def test_components_choose(xformers: Ops) -> None:
    studio = STUDIOS["Stable Diffusion"]()
    studio.strategies.enable(XFormers(components=("vae",)))
    xformers.asked.clear()
    studio.draw()
    widths = {call.shape[-1] for call in xformers.asked}
    assert widths == {32}, "the autoencoder's one head"


def test_torch_serves_where_xformers_cannot(network: Attending, xformers: Ops) -> None:
    strategies = PartsStack(unet=network)
    plain = network(X)
    strategies.enable(XFormers())
    xformers.widest = 2
    assert torch.equal(network(X), plain)
    assert [call.shape[1] for call in xformers.asked] == [8, 8], "tried twice, with few tokens"


def test_what_xformers_cannot_be_asked_is_left_to_torch(xformers: Ops) -> None:
    class Masked(nn.Module):
        def forward(self, query: Tensor, **options: Any) -> Tensor:
            return F.scaled_dot_product_attention(query, query, query, **options)

    network, query = Masked(), noise(1, 2, 9, 8)
    strategies = PartsStack(unet=network)
    strategies.enable(XFormers())
    for options in ({"is_causal": True}, {"attn_mask": noise(9, 9)}, {"scale": 0.5}):
        xformers.asked.clear()
        whole = F.scaled_dot_product_attention(query, query, query, **options)
        torch.testing.assert_close(network(query, **options), whole)
        assert bool(xformers.asked) == ("scale" in options)


def test_slicing_serves_what_xformers_leaves(network: Attending, xformers: Ops) -> None:
    strategies = PartsStack(unet=network)
    with sdpa_kernel(SDPBackend.MATH):
        plain = network(X)
        strategies.use([XFormers(), AttentionSlicing("max")])
        xformers.asked.clear()
        torch.testing.assert_close(network(X), plain)
        assert {call.shape for call in xformers.asked} == {(1, 8, 1, 4), (1, 9, 8, 4)}
