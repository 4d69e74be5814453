"""Weights that are needed rarely: they wait on the host and come for a visit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Guests:
    """Layers whose weights live on the host between two visits.

    Placements leave them alone. On the CPU nothing is moved.
    """

    def __init__(self) -> None:
        self.homes: dict[nn.Parameter, torch.device] = {}

    def admit(self, layers: Iterable[nn.Module]) -> None:
        """Take the weights of `layers` to the host."""
        for layer in layers:
            for parameter in layer.parameters():
                self.homes[parameter] = parameter.device
                parameter.data = parameter.data.to("cpu")

    def close(self) -> None:
        """Take all weights back to where they came from."""
        for parameter, home in self.homes.items():
            parameter.data = parameter.data.to(home)
        self.homes.clear()

    @contextmanager
    def invited(self, layers: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
        """The weights of `layers` are on `device` within."""
        at_home: list[tuple[nn.Parameter, Tensor]] = [
            (parameter, parameter.data) for layer in layers for parameter in layer.parameters()
        ]
        try:
            for parameter, data in at_home:
                parameter.data = data.to(device, non_blocking=True)
            yield
        finally:
            for parameter, data in at_home:
                parameter.data = data
