from __future__ import annotations

import pytest
import torch

from dpnb.strategies.offload.backends import link_obstacle, parse_simulated_rate, target_device


def test_devices_have_names() -> None:
    assert parse_simulated_rate("simulated:8GiB/s") == 8 << 30
    assert parse_simulated_rate("simulated") == 12 * 10**9
    assert parse_simulated_rate("cuda") is None
    assert target_device("simulated:1GB/s") == torch.device("cpu")
    assert target_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="'fast' is not a size"):
        parse_simulated_rate("simulated:fast/s")
    with pytest.raises(ValueError, match="moves nothing; give a rate"):
        parse_simulated_rate("simulated:0GB/s")
    with pytest.raises(ValueError, match="'simulated:5' is no simulated link; write one as"):
        target_device("simulated:5")
    with pytest.raises(ValueError, match="is not a device"):
        target_device("toaster")


def test_a_device_that_is_not_there_is_named_with_its_reason() -> None:
    assert link_obstacle("simulated:1GB/s") is None
    assert "would move nothing; choose an accelerator" in (link_obstacle("cpu") or "")
    assert "mps is not" in (link_obstacle("mps") or "")
    if not torch.cuda.is_available():
        assert "simulated:8GiB/s" in (link_obstacle(None) or "")
        assert "cuda:3 is not" in (link_obstacle("cuda:3") or "")
