"""Lists of layers that are made in turn."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from torch import nn


def make_in_turn(
    resnets: Iterable[nn.Module], attentions: Iterable[nn.Module]
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Both as lists, made one after the other: a layer of the first, one of the second, and so on.

    First weights are drawn in the order in which layers are made, and this is the one that other
    packages have: from one seed come the same weights.

    Args:
        resnets: makes a layer when it is asked for one.
        attentions: likewise; it may be shorter.
    """
    pairs = list(zip_longest(resnets, attentions))
    return (
        nn.ModuleList(resnet for resnet, _ in pairs),
        nn.ModuleList(attention for _, attention in pairs if attention is not None),
    )
