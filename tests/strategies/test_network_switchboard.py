from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import dpnb
from dpnb.strategies.network_switchboard import NetworkSwitchboard
from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def test_a_network_goes_by_the_name_that_its_pipeline_has_for_it(pipe: Any) -> None:
    board = NetworkSwitchboard.of(pipe.vae, "first_stage")
    assert board.component == "vae"
    assert board.stack.active is pipe.strategies.active
    board.enable_slicing()
    assert pipe.strategies.active == {dpnb.VaeSlicing()}


def test_a_network_without_a_pipeline_goes_by_its_own_name(pipe: Any) -> None:
    unet = dpnb.UNet2DConditionModel(**pipe.unet.config)
    assert NetworkSwitchboard.of(unet, "denoiser").component == "denoiser"


def test_switches_serve_where_only_the_network_was_imported() -> None:
    code = """
import sys
from dpnb.models.vq import VQModel
assert not [name for name in sys.modules if name.startswith("dpnb.strategies")]
network = VQModel(block_out_channels=(4,), norm_num_groups=2)
network.enable_slicing()
assert type(network.coder).__name__ == "SlicedCoder"
network.disable_slicing()
assert type(network.coder).__name__ == "DirectCoder"
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
