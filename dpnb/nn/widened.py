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
            if any(p.is_floating_point() for p in module.parameters(recurse=False)):
                layer = _Widened(dtype)
                undo.callback(layer.narrow)
                undo.callback(module.register_forward_pre_hook(layer.widen).remove)
                # Whoever stores the layer in another way takes back what it has lent after this.
                handle = module.register_forward_hook(layer.narrow, prepend=True, always_call=True)
                undo.callback(handle.remove)
        yield


class _Widened:
    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._stored: list[tuple[nn.Parameter, Tensor]] = []

    def widen(self, module: nn.Module, _: object) -> None:
        own = module.parameters(recurse=False)
        self._stored = [(p, p.data) for p in own if p.is_floating_point()]
        for parameter, stored in self._stored:
            parameter.data = stored.to(self._dtype)

    def narrow(self, *_: object) -> None:
        for parameter, stored in self._stored:
            parameter.data = stored
        self._stored = []
