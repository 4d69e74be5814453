"""Norms by the time embedding."""

from __future__ import annotations

import torch

from dpnb.nn.adaptive_norm import AdaptiveGroupNorm


def test_it_normalises_then_scales_and_shifts_each_channel() -> None:
    torch.manual_seed(0)
    norm, x, time = AdaptiveGroupNorm(4, 8, 2), torch.randn(3, 8, 5, 5), torch.randn(3, 4)
    scale, shift = norm.linear(time).chunk(2, dim=1)
    plain = torch.nn.functional.group_norm(x, 2)
    expected = plain * (1 + scale[..., None, None]) + shift[..., None, None]
    torch.testing.assert_close(norm(x, time), expected)
