"""A sign in a network that low-rank weights of a file are on, for who looks for peft's layers."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, ClassVar

from torch import nn

NAME = "lora_of_a_file"
"""What a network calls its sign."""


class AdapterSign(nn.Module):
    """What peft takes for a layer of its own, in which it finds no adapter and changes nothing.

    The weights themselves are changed, or computed beside, without layers of peft.
    """

    adapter_layer_names: ClassVar[tuple[str, ...]] = ()
    merged: ClassVar[bool] = False
    disable_adapters: ClassVar[bool] = False

    @property
    def active_adapters(self) -> list[str]:
        """None of peft's."""
        return []

    active_adapter = merged_adapters = active_adapters

    def set_adapter(self, adapter_names: Any, inference_mode: bool = False) -> None:
        """Nothing."""

    def enable_adapters(self, enabled: bool) -> None:
        """Nothing."""

    def delete_adapter(self, adapter_name: str) -> None:
        """Nothing."""

    def merge(self, safe_merge: bool = False, adapter_names: Any = None) -> None:
        """Nothing."""

    def unmerge(self) -> None:
        """Nothing."""


def put_sign(network: nn.Module) -> None:
    """Let peft find a layer of its kind in a network, until `take_sign`."""
    if (tuners := sys.modules.get("peft.tuners.tuners_utils")) is not None:
        tuners.BaseTunerLayer.register(AdapterSign)
    network._modules[NAME] = _sign()


def take_sign(network: nn.Module) -> None:
    """Take the sign out of a network; one without it stays as it is."""
    network._modules.pop(NAME, None)


@cache
def _sign() -> AdapterSign:
    """The one that all networks share, so that each has the same again as before."""
    return AdapterSign()
