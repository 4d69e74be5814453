from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dpnb.nn.skip_connections import FreeUMerge, concatenate, scale_low_frequencies
from dpnb.strategies.freeu import FreeU
from tests.strategies.pipes import build, draw


def filtered(x: Tensor, scale: float) -> Tensor:
    """The filter as published: a Fourier transform, a mask of two by two modes, and back."""
    modes = torch.fft.fftshift(torch.fft.fftn(x.double(), dim=(-2, -1)), dim=(-2, -1))
    row, column = x.shape[-2] // 2, x.shape[-1] // 2
    mask = torch.ones(x.shape[-2:], dtype=torch.float64)
    mask[max(row - 1, 0) : row + 1, max(column - 1, 0) : column + 1] = scale
    back = torch.fft.ifftshift(modes * mask, dim=(-2, -1))
    result: Tensor = torch.fft.ifftn(back, dim=(-2, -1)).real
    return result.to(x.dtype)


@pytest.mark.parametrize("size", [(8, 8), (16, 32), (7, 5), (9, 16), (2, 2), (3, 1), (1, 1)])
@pytest.mark.parametrize("scale", [0.0, 0.2, 0.9, 1.0, 1.5, -1.0])
def test_the_projection_is_the_fourier_filter(size: tuple[int, int], scale: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(
        scale_low_frequencies(x, scale), filtered(x, scale), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_filtered_within_its_rounding(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 8, 8).to(dtype)
    expected = filtered(x.float(), 0.2)
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(
        scale_low_frequencies(x, 0.2).float(), expected, rtol=0, atol=tolerance
    )


def test_half_of_the_backbone_is_strengthened() -> None:
    torch.manual_seed(0)
    x, skip = torch.randn(2, 1, 4, 8, 8)
    merged = FreeUMerge(1.0, 1.5)(x.clone(), skip.clone())
    torch.testing.assert_close(merged[:, :2], 1.5 * x[:, :2])
    torch.testing.assert_close(merged[:, 2:4], x[:, 2:])
    torch.testing.assert_close(merged[:, 4:], skip)


def test_gradients_pass_through_it() -> None:
    torch.manual_seed(0)
    x, skip = (torch.randn(1, 4, 8, 8, requires_grad=True) for _ in range(2))
    with_gradient = FreeUMerge(0.2, 1.5)(x, skip)
    with_gradient.sum().backward()
    assert x.grad is not None
    assert skip.grad is not None
    with torch.no_grad():
        without = FreeUMerge(0.2, 1.5)(x.clone(), skip.clone())
    torch.testing.assert_close(with_gradient, without)


def test_it_fills_the_first_two_up_blocks() -> None:
    pipe = build("tiny-sd")
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
    first, second, *rest = [block.merge_skip for block in pipe.unet.up_blocks]
    assert first == FreeUMerge(0.9, 1.5)
    assert second == FreeUMerge(0.2, 1.6)
    assert all(merge is concatenate for merge in rest)


@pytest.mark.exhaustive
@pytest.mark.parametrize("field", ["s1", "s2", "b1", "b2"])
def test_zero_is_a_value(field: str) -> None:
    pipe = build("tiny-sd")
    neutral = {"s1": 1.0, "s2": 1.0, "b1": 1.0, "b2": 1.0}
    plain = draw(pipe)
    pipe.enable_freeu(**neutral)
    torch.testing.assert_close(draw(pipe), plain, rtol=0, atol=1e-5)
    pipe.enable_freeu(**(neutral | {field: 0}))
    assert (draw(pipe) - plain).abs().max() > 1e-4


@pytest.mark.parametrize(("field", "value"), [("s1", "0.9"), ("b2", None), ("b1", True)])
def test_a_factor_is_a_number(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{field} is {value!r}; FreeU's factors are numbers"):
        FreeU(**{field: value})


def test_presets_differ_by_the_backbone() -> None:
    assert {(p.s1, p.s2) for p in (FreeU.sd15(), FreeU.sd21(), FreeU.sdxl())} == {(0.9, 0.2)}
    assert len({FreeU.sd15(), FreeU.sd21(), FreeU.sdxl()}) == 3


def test_up_blocks_say_the_factors_while_they_act() -> None:
    unet = build("tiny-sd").unet
    said = [[block.s1, block.s2, block.b1, block.b2] for block in unet.up_blocks]
    assert said == [[None] * 4] * len(unet.up_blocks)
    unet.enable_freeu(0.9, 0.2, 1.2, 1.4)
    said = [[block.s1, block.s2, block.b1, block.b2] for block in unet.up_blocks]
    assert said == [[0.9, 0.2, 1.2, 1.4]] * len(unet.up_blocks)
    unet.disable_freeu()
    assert all("s1" not in vars(block) and block.s1 is None for block in unet.up_blocks)
