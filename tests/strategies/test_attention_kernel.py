from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

import dpnb
from dpnb.errors import MissingPackageError, StrategyError
from dpnb.nn.attention import Attention
from dpnb.nn.attention_backends import FlashKernel, MathKernel
from dpnb.nn.attention_kernels import ChosenKernel, SlicedKernel, XFormersKernel, sdpa
from dpnb.strategies.attention import AttentionSlicing, XFormers
from dpnb.strategies.attention_kernel import AttentionKernel
from dpnb.strategies.strategy import Effect
from tests.strategies.conftest import Ops
from tests.strategies.foreign_owner import STUDIOS, PartsStack, noise
from tests.strategies.pipes import build, draw

FLASH = "_scaled_dot_product_flash_attention_for_cpu"


class Operations(TorchDispatchMode):
    """Counts what torch computes, by the operator's name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    @override
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted() -> Iterator[Counter[str]]:
    with torch.no_grad(), Operations() as operations:
        yield operations.counts


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def kernels(network: nn.Module) -> set[Any]:
    return {m.kernel for m in network.modules() if isinstance(m, Attention)}


def test_every_layer_computes_by_the_one_that_is_named(pipe: Any) -> None:
    with counted() as plain:
        pictures = draw(pipe)
    assert plain[FLASH] > 10
    pipe.strategies.enable(AttentionKernel("math"))
    assert kernels(pipe.unet) == kernels(pipe.vae) == {MathKernel()}
    with counted() as written_out:
        torch.testing.assert_close(draw(pipe), pictures, rtol=0, atol=1e-5)
    ours = plain[FLASH] - written_out[FLASH]
    assert ours == 2 * sum(isinstance(m, Attention) for m in pipe.unet.modules()) + 1
    assert written_out["_safe_softmax"] + written_out["_softmax"] >= ours
    pipe.strategies.enable(AttentionKernel("flash"))
    assert torch.equal(draw(pipe), pictures)
    pipe.strategies.disable(AttentionKernel)
    assert kernels(pipe.unet) == {sdpa}


def test_components_choose(pipe: Any) -> None:
    pipe.strategies.enable(AttentionKernel("math", ("vae",)))
    assert (kernels(pipe.unet), kernels(pipe.vae)) == ({sdpa}, {MathKernel()})
    sentence = pipe.strategies.obstacle(AttentionKernel("math", ("text_encoder",)))
    assert "no attention of text_encoder: there is none, or transformers computes it; " in sentence


@pytest.mark.parametrize("name", ["efficient", "cudnn", "flex", "sage", "flash_2", "flash_3"])
def test_what_needs_a_card_says_so(pipe: Any, name: Any) -> None:
    with pytest.raises(StrategyError) as caught:
        pipe.strategies.enable(AttentionKernel(name))
    assert str(caught.value) == (
        f'AttentionKernel("{name}") needs a CUDA device; this pipeline is on cpu. Keep torch\'s '
        'fused attention, or move the pipeline with .to("cuda").'
    )
    assert kernels(pipe.unet) == {sdpa}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xformers", None)
    pipe = build("tiny-sd")
    strategy = AttentionKernel("xformers")
    with pytest.raises(MissingPackageError, match=r"needs the package xformers; install dpnb\[xf"):
        pipe.strategies.enable(strategy)


def test_a_name_that_nobody_has_is_refused() -> None:
    wrong: Any = "fast"
    with pytest.raises(ValueError, match=r"name is 'fast'; a kernel is one of \"flash\", \"eff"):
        AttentionKernel(wrong)
    with pytest.raises(ValueError, match="AttentionKernel"):
        AttentionKernel.from_json({"name": 3})


def test_what_rounds_to_8_bits_is_approximate() -> None:
    assert AttentionKernel("sage").effect is Effect.APPROXIMATE
    assert AttentionKernel("flash_3").effect is Effect.EXACT


def test_xformers_is_one_of_them(pipe: Any, xformers: Ops) -> None:
    pipe.strategies.enable(XFormers())
    by_its_class = kernels(pipe.unet)
    pipe.strategies.enable(AttentionKernel("xformers"))
    assert pipe.strategies.active == {AttentionKernel("xformers")}
    assert kernels(pipe.unet) == by_its_class == {XFormersKernel()}
    xformers.asked.clear()
    draw(pipe)
    assert xformers.asked


def test_a_head_that_it_cannot_serve_keeps_torchs_choice(
    pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    widest = max(m.head_dim for m in pipe.unet.modules() if isinstance(m, Attention))
    call = FlashKernel.__call__

    def refuse(kernel: FlashKernel, query: Tensor, *others: Any) -> Tensor:
        if query.shape[-1] > widest:
            raise RuntimeError("head too wide\nand more of that")
        return call(kernel, query, *others)

    monkeypatch.setattr(FlashKernel, "__call__", refuse)
    pipe.strategies.enable(AttentionKernel("flash"))
    assert (kernels(pipe.unet), kernels(pipe.vae)) == ({FlashKernel()}, {sdpa})
    draw(pipe)
    assert pipe.strategies.obstacle(AttentionKernel("flash", ("vae",))).startswith(
        "torch's flash attention cannot compute heads of 32 in float32 on cpu (head too wide); "
    )


def test_slices_are_of_what_builds_the_matrix(pipe: Any) -> None:
    pipe.strategies.use([AttentionKernel("math"), AttentionSlicing("max")])
    assert {kernel.inner for kernel in kernels(pipe.unet)} == {MathKernel()}
    pipe.strategies.enable(AttentionKernel("flash"))
    assert kernels(pipe.unet) == {FlashKernel()}
    pipe.strategies.disable(AttentionKernel)
    assert {type(kernel) for kernel in kernels(pipe.unet)} == {SlicedKernel}


# --- nothing else computes by it ---


def another() -> Counter[str]:
    """What an attention of nobody's is computed by."""
    with counted() as counts:
        F.scaled_dot_product_attention(*noise(3, 1, 2, 4, 4))
    return counts


@pytest.mark.parametrize("build_pipe", [build, STUDIOS["FLUX"]])
def test_no_other_attention_is_touched(
    build_pipe: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe: Any = build_pipe()
    found: list[Counter[str]] = []
    call = MathKernel.__call__

    def look_around(kernel: ChosenKernel, *parts: Any) -> Tensor:
        if not found:
            thread = Thread(target=lambda: found.append(another()))
            thread.start()
            thread.join()
        return call(kernel, *parts)  # type: ignore[arg-type]

    monkeypatch.setattr(MathKernel, "__call__", look_around)
    plain = another()
    assert plain[FLASH] == 1
    pipe.strategies.enable(AttentionKernel("math"))
    found.clear()
    (pipe.draw if "draw" in dir(pipe) else lambda: draw(pipe))()
    assert found == [plain], "while it attends, another thread does so as ever"
    assert another() == plain
    pipe.strategies.use([])
    assert another() == plain


def test_a_foreign_network_computes_by_it(xformers: Ops) -> None:
    studio = STUDIOS["Stable Diffusion"]()
    with counted() as plain:
        pictures = studio.draw()
    with studio.strategies.using(AttentionKernel("math")), counted() as written_out:
        torch.testing.assert_close(studio.draw(), pictures, rtol=0, atol=2e-5)
    assert written_out[FLASH] < plain[FLASH]
    assert torch.equal(studio.draw(), pictures)
    assert not xformers.asked


def test_calls_that_it_cannot_serve_are_left_to_torch() -> None:
    class Attending(nn.Module):
        def forward(self, query: Tensor, value: Tensor, **options: Any) -> Tensor:
            return F.scaled_dot_product_attention(query, query, value, **options)

    network, query, value = Attending(), noise(1, 2, 9, 8), noise(1, 2, 9, 6)
    strategies = PartsStack(unet=network)
    strategies.enable(AttentionKernel("flash"))
    plain = F.scaled_dot_product_attention
    torch.testing.assert_close(network(query, value), plain(query, query, value))
    mask = noise(9, 9) > 0
    torch.testing.assert_close(
        network(query, query, attn_mask=mask), plain(query, query, query, mask)
    )
    none = query[:, :, :0]
    assert network(none, none).shape == none.shape


# --- by the names of other packages ---


def test_a_network_chooses_by_names_of_elsewhere(pipe: Any) -> None:
    unet, strategies = pipe.unet, pipe.strategies
    unet.set_attention_backend("_native_math")
    assert strategies.active == {AttentionKernel("math", ("unet",))}
    assert {type(p).__name__ for p in unet.attn_processors.values()} == {"AttnProcessor"}
    unet.set_attention_backend("_native_flash")
    assert strategies.active == {AttentionKernel("flash", ("unet",))}
    pipe.vae.set_attention_backend("_native_flash")
    assert strategies.active == {AttentionKernel("flash", ("unet", "vae"))}
    unet.reset_attention_backend()
    assert strategies.active == {AttentionKernel("flash", ("vae",))}
    pipe.vae.set_attention_backend("native")
    assert not strategies.active
    assert kernels(unet) == kernels(pipe.vae) == {sdpa}
    with pytest.raises(StrategyError, match="needs a CUDA device"):
        unet.set_attention_backend("_native_cudnn")
    pipe.strategies.enable(dpnb.AttentionKernel("math"))
    unet.set_attention_backend("_native_math")
    assert strategies.active == {AttentionKernel("math")}


def test_no_network_decides_by_what_another_attends(pipe: Any) -> None:
    for names in (), ("vae",), ("unet", "vae"):
        before = AttentionKernel("math", names)
        pipe.strategies.enable(before)
        with pytest.raises(StrategyError, match=r"enable\(dpnb\.AttentionKernel\(\)\)"):
            pipe.unet.set_attention_backend("_native_flash")
        assert pipe.strategies.active == {before}
