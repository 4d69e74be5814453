"""Weights that are needed rarely: they are on the host, and on the device only while in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dpnb.strategies.offload.blocks import tensors_of


class HostedWeights:
    """Layers whose weights are on the host between two uses.

    Placements leave them alone. On the CPU nothing is moved.

    Attributes:
        original_devices: weight → where it was, and goes back to.
    """

    def __init__(self) -> None:
        self.original_devices: dict[Tensor, torch.device] = {}

    def move_to_host(self, layers: Iterable[nn.Module]) -> None:
        """Move the weights of `layers` to the host."""
        for layer in layers:
            for tensor in tensors_of(layer):
                self.original_devices[tensor] = tensor.device
                tensor.data = tensor.data.to("cpu")

    def set_original_device(self, device: torch.device) -> None:
        """Let this be the device to which `close` takes all weights."""
        self.original_devices = dict.fromkeys(self.original_devices, device)

    def close(self) -> None:
        """Take all weights back to where they came from."""
        for tensor, device in self.original_devices.items():
            tensor.data = tensor.data.to(device)
        self.original_devices.clear()

    @contextmanager
    def on_device(self, layers: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
        """The weights of `layers` are on `device` within."""
        on_host = [(tensor, tensor.data) for layer in layers for tensor in tensors_of(layer)]
        try:
            for tensor, data in on_host:
                tensor.data = data.to(device, non_blocking=True)
            yield
        finally:
            for tensor, data in on_host:
                tensor.data = data
