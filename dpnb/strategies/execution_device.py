"""Telling the code of other pipelines where networks compute whose weights wait elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dpnb.strategies.told_classes import answer_by
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
    """Let whoever asks `networks` for their device hear `device`, not where a weight waits.

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
        if type(network).__module__.partition(".")[0] != __name__.partition(".")[0]:
            answer_by(network, "device", _locate, undo)


def _locate(network: nn.Module, plain: Callable[[nn.Module], Any]) -> Any:
    """What the hook of a network says; a network that was made of its class since has none."""
    hook = vars(network).get(ATTRIBUTE)
    return plain(network) if hook is None else hook.execution_device
