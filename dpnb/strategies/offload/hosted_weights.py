"""Weights that are needed rarely: they wait on the host and come for a visit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dpnb.strategies.offload.blocks import tensors_of


class HostedWeights:
    """Layers whose weights live on the host between two visits.

    Placements leave them alone. On the CPU nothing is moved.
    """

    def __init__(self) -> None:
        self.homes: dict[Tensor, torch.device] = {}

    def admit(self, layers: Iterable[nn.Module]) -> None:
        """Take the weights of `layers` to the host."""
        for layer in layers:
            for tensor in tensors_of(layer):
                self.homes[tensor] = tensor.device
                tensor.data = tensor.data.to("cpu")

    def rehome(self, device: torch.device) -> None:
        """Let this be the device to which `close` takes all weights."""
        self.homes = dict.fromkeys(self.homes, device)

    def close(self) -> None:
        """Take all weights back to where they came from."""
        for tensor, home in self.homes.items():
            tensor.data = tensor.data.to(home)
        self.homes.clear()

    @contextmanager
    def on_device(self, layers: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
        """The weights of `layers` are on `device` within."""
        at_home = [(tensor, tensor.data) for layer in layers for tensor in tensors_of(layer)]
        try:
            for tensor, data in at_home:
                tensor.data = data.to(device, non_blocking=True)
            yield
        finally:
            for tensor, data in at_home:
                tensor.data = data
