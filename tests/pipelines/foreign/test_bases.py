"""Base classes for networks and schedulers of one's own."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb.configuration_utils import ConfigMixin, register_to_config
from dpnb.strategies.offload.link import Link
from tests.strategies.pipes import build


class Tiny(dpnb.ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layer(x)
        return made


def test_a_network_of_ones_own_is_saved_and_loaded_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Tiny(width=6)
    model.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        again = Tiny.from_pretrained(tmp_path)
    assert not caplog.records
    assert again.config.width == 6
    assert torch.equal(again.layer.weight, model.layer.weight)


def test_what_is_a_network_is_an_instance() -> None:
    pipe = build("tiny-sd")
    assert isinstance(pipe.unet, dpnb.ModelMixin)
    assert issubclass(dpnb.DDIMScheduler, dpnb.SchedulerMixin)
    assert isinstance(pipe.scheduler, ConfigMixin)
    assert not isinstance(pipe.unet, Tiny)
    assert not isinstance(pipe.scheduler, dpnb.ModelMixin)
    assert not issubclass(Link, ConfigMixin)
    assert not isinstance(Tiny(), dpnb.UNet2DConditionModel)
