"""Telling the code of other pipelines where networks compute whose weights wait elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from dpnb.strategies.undo import Undo

ATTRIBUTE = "_hf_hook"
"""Where accelerate keeps its hook of a module, which diffusers asks before it looks at weights."""


@dataclass(frozen=True)
class ExecutionDevice:
    """What diffusers asks of a hook of accelerate: where its module computes.

    Attributes:
        execution_device: the device.
    """

    execution_device: torch.device

    def detach_hook(self, module: nn.Module) -> nn.Module:
        """Nothing is to be taken off."""
        return module


def tell_execution_device(networks: Iterable[nn.Module], device: torch.device, undo: Undo) -> None:
    """Let whoever asks `networks` for their device as diffusers does hear `device`.

    Args:
        networks: one that has a hook of accelerate keeps that.
        device: where they compute.
        undo: takes the inverse.
    """
    for network in networks:
        own = vars(network)
        if ATTRIBUTE not in own:
            undo.callback(own.pop, ATTRIBUTE, None)
            own[ATTRIBUTE] = ExecutionDevice(device)
