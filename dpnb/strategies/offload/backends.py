"""Which link leads to a device: that of CUDA, or one that only takes the time of one."""

from __future__ import annotations

import re

import torch

from dpnb.devices import best_device, parse_device, with_index
from dpnb.strategies.offload.cuda_link import CudaLink
from dpnb.strategies.offload.link import Link
from dpnb.strategies.offload.simulated_link import SimulatedLink
from dpnb.units import parse_bytes

SIMULATED = re.compile(r"simulated(?::(?P<rate>.+)/s)?")

SIMULATED_RATE = 12 * 10**9
"""Bytes in a second of a simulated link whose rate is not given: those of PCIe 3 x16."""


def open_link(device: str | None) -> Link:
    """A link to a device.

    Args:
        device: as for `link_obstacle`.
    """
    if (rate := parse_simulated_rate(device)) is not None:
        return SimulatedLink(rate)
    return CudaLink(with_index(target_device(device)))


def link_obstacle(device: str | None) -> str | None:
    """Why there is no link to a device, as a sentence; `None` where there is one.

    Args:
        device: `"cuda"` or `"cuda:1"`; `"simulated:8GiB/s"` for a link that only takes the time of
            one, between memory of the CPU; `None` for the accelerator of this machine.
    """
    if parse_simulated_rate(device) is not None:
        return None
    target = target_device(device)
    if target.type == "cuda" and torch.cuda.is_available():
        count = torch.cuda.device_count()
        if (target.index or 0) < count:
            return None
        return f"There is no {target}; this machine has {count} CUDA devices, counted from 0."
    if device is None and target.type == "cpu":
        return (
            "There is no accelerator here, and offloading to the CPU would move nothing; leave it "
            'out, or try it on a simulated one with device="simulated:8GiB/s".'
        )
    if target.type == "cpu":
        return "Offloading to the CPU would move nothing; choose an accelerator such as cuda."
    return f"Offloading needs a CUDA device that is there; {target} is not."


def target_device(device: str | None) -> torch.device:
    """Where tensors of this device are: for a simulated one, on the CPU.

    Raises:
        ValueError: there is no such kind of device.
    """
    if parse_simulated_rate(device) is not None:
        return torch.device("cpu")
    return best_device() if device is None else parse_device(device)


def parse_simulated_rate(device: str | None) -> int | None:
    """Bytes in a second of the simulated link of this name; `None` for another device.

    Raises:
        ValueError: the rate is none.
    """
    if device is None or not device.startswith("simulated"):
        return None
    match = SIMULATED.fullmatch(device)
    if match is None:
        raise ValueError(f"{device!r} is no simulated link; write one as 'simulated:8GiB/s'.")
    rate = SIMULATED_RATE if match["rate"] is None else parse_bytes(match["rate"])
    if rate == 0:
        raise ValueError(f"{device!r} moves nothing; give a rate, as in 'simulated:8GiB/s'.")
    return rate
