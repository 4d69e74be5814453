"""A network that computes in a wider dtype than it is stored in, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def widened(network: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within it every layer of `network` computes in `dtype`; one at a time is held so.

    What a layer stores does not change. The result is that of a network which is cast as a whole.
    """
    with ExitStack() as undo:
        for module in network.modules():
            own = [p for p in module.parameters(recurse=False) if p.is_floating_point()]
            if own:
                layer = _Widened(own, dtype)
                undo.callback(layer.narrow)
                undo.callback(module.register_forward_pre_hook(layer.widen).remove)
                # Whoever stores the layer in another way takes back what it has lent after this.
                handle = module.register_forward_hook(layer.narrow, prepend=True, always_call=True)
                undo.callback(handle.remove)
        yield


class _Widened:
    def __init__(self, parameters: list[nn.Parameter], dtype: torch.dtype) -> None:
        self._parameters, self._dtype = parameters, dtype
        self._stored: list[Tensor] = []

    def widen(self, *_: object) -> None:
        self._stored = [parameter.data for parameter in self._parameters]
        for parameter in self._parameters:
            parameter.data = parameter.data.to(self._dtype)

    def narrow(self, *_: object) -> None:
        for parameter, stored in zip(self._parameters, self._stored, strict=False):
            parameter.data = stored
        self._stored = []
