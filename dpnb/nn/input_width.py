"""Networks whose first layer may come to take more channels than it was made for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import nn

from dpnb.nn.wrapped_layers import plain_layer


class WidensInput(ABC):
    """A network that can see a picture beside the latents, once its first layer has room for it.

    Attributes:
        input_layer: the name of that layer, which is linear.
        config: its settings.
    """

    input_layer: ClassVar[str]
    config: Any

    @abstractmethod
    def config_for(self, channels: int) -> Any:
        """Its settings where it takes this many channels, and draws as many as now."""


def fit_input(network: nn.Module) -> None:
    """Let a network's settings, and those of its first layer, say what that layer's weight is."""
    if isinstance(network, WidensInput):
        layer = plain_layer(network.get_submodule(network.input_layer))
        channels = layer.get_parameter("weight").shape[1]
        if isinstance(layer, nn.Linear) and layer.in_features != channels:
            layer.in_features = channels
            network.config = network.config_for(channels)
