"""Networks that torch has compiled as a whole."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def plain_network(network: nn.Module) -> nn.Module:
    """The network that `torch.compile` has wrapped; any other is that itself."""
    # By its name: importing the class takes as long as importing all of torch.
    if type(network).__name__ == "OptimizedModule":
        return network.get_submodule("_orig_mod")
    return network


def compute_uncompiled() -> AbstractContextManager[object]:
    """Within, what is compiled computes as it was written; the compiler looks at nothing.

    It would note of functions that it has seen under a mode of dispatch that they cannot be
    compiled, and keep to that in later calls.
    """
    is_loaded = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if is_loaded else nullcontext()
