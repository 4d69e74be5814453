"""Networks that torch has compiled as a whole."""

from __future__ import annotations

from torch import nn


def plain_network(network: nn.Module) -> nn.Module:
    """The network that `torch.compile` has wrapped; any other is that itself."""
    # By its name: importing the class takes as long as importing all of torch.
    if type(network).__name__ == "OptimizedModule":
        return network.get_submodule("_orig_mod")
    return network
