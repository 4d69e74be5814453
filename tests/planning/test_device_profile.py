"""Profiles of devices."""

from __future__ import annotations

import pytest
import torch

from dpnb.planning.device_profile import Cost, DeviceProfile
from dpnb.planning.gpu_specs import GPU_SPECS
from dpnb.planning.operations import Operation


@pytest.mark.parametrize("name", GPU_SPECS)
def test_cards_have_plausible_rates_and_a_source(name: str) -> None:
    card = GPU_SPECS[name]
    assert 6 << 30 <= card.memory <= 192 << 30
    assert card.link < card.bandwidth / 3
    assert 1 < card.float16 / card.float32 <= 17
    assert "NVIDIA" in card.source


def test_a_card_is_found_by_the_names_that_people_use() -> None:
    profiles = [
        DeviceProfile.from_name(name)
        for name in ("RTX 3060", "rtx3060", "3060", "NVIDIA GeForce RTX 3060", "GeForce rtx-3060")
    ]
    assert {profile.name for profile in profiles} == {"RTX 3060"}
    assert DeviceProfile.from_name("4070 Ti").name == "RTX 4070 Ti"
    assert DeviceProfile.named("4070 Ti") == DeviceProfile.from_name("4070 Ti")


def test_an_unknown_card_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'A100' is not .* the nearest are .*A100 80GB"):
        DeviceProfile.from_name("A100")


def test_an_operation_waits_for_arithmetic_or_for_memory() -> None:
    profile = DeviceProfile("x", 1, 100.0, 10.0, 20.0, None, 0.5, False, "here")
    product = Operation("mm", torch.float32, flops=100, nbytes=10)
    half = Operation("mm", torch.bfloat16, flops=100, nbytes=10)
    copy = Operation("copy", torch.float32, flops=0, nbytes=200)
    cost = profile.cost({product: 1, half: 2, copy: 3})
    assert cost == Cost(arithmetic=10 + 2 * 5, memory=6, calls=3.0)
    assert profile.seconds(cost) == 29


def test_the_cpu_is_measured() -> None:
    profile = DeviceProfile.measure("cpu")
    assert profile.link is None
    assert 1e8 < profile.bandwidth < 1e12
    assert 1e8 < profile.float32 < 1e14
    assert 1e-7 < profile.call < 1e-2
    assert 1e-6 < profile.transfer < 1e-1


@pytest.mark.gpu
def test_a_gpu_is_measured() -> None:
    profile = DeviceProfile.measure("cuda")
    assert profile.link is not None
    assert profile.link < profile.bandwidth
    assert profile.float16 > profile.float32
