"""Networks of other packages are saved as if nothing were on, also by their own method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from torch import nn

from dpnb.models.model import Model
from dpnb.nn.compiled import plain_network
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.undo import Undo

SAVE = "save_pretrained"
"""What packages call the method that writes a network into a folder."""


def save_plainly(networks: Iterable[nn.Module], undo: Undo) -> None:
    """Let a call of `network.save_pretrained` write plain weights, whatever is on.

    Args:
        networks: those of dpnb do so by themselves, and are left alone.
        undo: takes the inverse.
    """
    for network in map(plain_network, networks):
        own = vars(network)
        if isinstance(network, Model) or SAVE not in dir(network):
            continue
        undo.callback(_give_back, network, own.get(SAVE))
        own[SAVE] = _suspend_in(network)


def _give_back(network: nn.Module, former: Any) -> None:
    vars(network).pop(SAVE, None)
    if former is not None:
        vars(network)[SAVE] = former


def _suspend_in(network: Any) -> Callable[..., Any]:
    """What saves `network` while nothing is on: the same object each time that it is asked for."""
    save, attachment = network.save_pretrained, attachment_of(network)
    former: Callable[..., Any] | None = attachment.saving
    if former is not None and attachment.saving.__wrapped__ == save:
        return former

    @wraps(save)
    def save_suspended(*args: Any, **kwargs: Any) -> Any:
        with attachment.suspended():
            return save(*args, **kwargs)

    attachment.saving = save_suspended
    return save_suspended
