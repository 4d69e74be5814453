from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any, TypeAlias, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dpnb.nn.attention_backends import APPROXIMATE, KERNELS
from dpnb.strategies.attention_kernel import KernelName

Parts: TypeAlias = tuple[Tensor, Tensor, Tensor]

ON_CPU = ("flash", "math")


def heads(width: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Parts:
    """Queries, keys and values as layers make them: cut from tokens, `[2, 3, tokens, width]`."""
    generator = torch.Generator().manual_seed(0)

    def draw(length: int) -> Tensor:
        tokens = torch.randn(2, length, 3 * width, generator=generator).to(device, dtype)
        split: Tensor = tokens.unflatten(-1, (3, width)).transpose(1, 2)
        return split

    return draw(9), draw(5), draw(5)


def test_every_name_has_a_kernel() -> None:
    assert {*KERNELS} == {*get_args(KernelName)}
    assert {*KERNELS} > APPROXIMATE


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("width", [4, 3, 512])
@pytest.mark.parametrize("name", ON_CPU)
def test_it_attends_as_torch_does(name: str, width: int, scale: float | None) -> None:
    parts = heads(width)
    wanted = F.scaled_dot_product_attention(*parts, scale=scale)
    torch.testing.assert_close(KERNELS[name](*parts, scale), wanted)


@pytest.mark.parametrize("name", ON_CPU)
def test_heads_may_lie_in_any_order(name: str) -> None:
    query, key, value = (part.mT.contiguous().mT for part in heads(8))
    wanted = F.scaled_dot_product_attention(*heads(8))
    torch.testing.assert_close(KERNELS[name](query, key, value), wanted)


@pytest.mark.parametrize("name", ON_CPU)
def test_gradients_pass(name: str) -> None:
    found = []
    for attend in (KERNELS[name], F.scaled_dot_product_attention):
        query, key, value = (part.detach().clone().requires_grad_() for part in heads(8))
        attend(query, key, value).square().sum().backward()
        found.append([query.grad, key.grad, value.grad])
    torch.testing.assert_close(*found)


def test_what_builds_the_matrix_says_so() -> None:
    assert [name for name, kernel in KERNELS.items() if kernel.builds_matrix] == ["math"]


@pytest.mark.gpu
@pytest.mark.parametrize("width", [40, 64, 36])
@pytest.mark.parametrize("name", [*KERNELS])
def test_it_attends_as_torch_does_on_a_card(name: str, width: int) -> None:
    kernel = KERNELS[name]
    if kernel.package is not None:
        pytest.importorskip(kernel.package)
    parts = heads(width, torch.float16, "cuda")
    wanted = F.scaled_dot_product_attention(*parts)
    loose = 5e-2 if name in APPROXIMATE else 5e-3
    torch.testing.assert_close(kernel(*parts), wanted, rtol=loose, atol=loose)


@pytest.mark.parametrize(
    ("name", "package"), [("sage", "sageattention"), ("flash_2", "flash_attn")]
)
def test_a_package_is_silenced_when_it_is_imported_and_not_in_each_call(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = list[int]()

    class Package(ModuleType):
        def __getattr__(self, asked: str) -> Any:
            if asked.startswith("__"):
                raise AttributeError(asked)
            levels.append(logging.getLogger("triton").level)
            return lambda query, *_, **__: query

    monkeypatch.setitem(sys.modules, package, Package(package))
    query, _, _ = heads(8)
    KERNELS[name](query, query, query)
    assert levels == [logging.NOTSET]
