"""Resampling by a fixed blur."""

from __future__ import annotations

import torch

from dpnb.nn.blurred_resampling import BlurredDownsample, BlurredUpsample


def test_what_is_the_same_everywhere_stays() -> None:
    x = torch.full((1, 3, 8, 6), 0.7)
    down, up = BlurredDownsample()(x), BlurredUpsample()(x)
    torch.testing.assert_close(down, torch.full((1, 3, 4, 3), 0.7))
    torch.testing.assert_close(up, torch.full((1, 3, 16, 12), 0.7))


def test_channels_do_not_mix() -> None:
    x = torch.randn(2, 3, 8, 8)
    for layer in (BlurredDownsample(), BlurredUpsample()):
        alone = torch.cat([layer(x[:, i : i + 1]) for i in range(3)], dim=1)
        torch.testing.assert_close(layer(x), alone)
