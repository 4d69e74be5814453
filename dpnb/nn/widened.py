"""A network that computes in a wider dtype than it is stored in, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.nn.quantized import is_wrapped


@contextmanager
def widened(network: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within it every layer of `network` computes in `dtype`; one at a time is held so.

    What a layer stores does not change. The result is that of a network which is cast as a whole.
    """
    with ExitStack() as undo:
        for module in network.modules():
            if any(p.is_floating_point() for p in module.parameters(recurse=False)):
                layer = _Widened(dtype)
                undo.callback(layer.narrow, module)
                undo.callback(module.register_forward_pre_hook(layer.widen).remove)
                # Whoever stores the layer in another way takes back what it has lent after this.
                handle = module.register_forward_hook(layer.narrow, prepend=True, always_call=True)
                undo.callback(handle.remove)
        yield


class _Widened:
    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._stored: list[tuple[nn.Parameter, Tensor]] = []
        self._quantized: dict[str, nn.Parameter] = {}

    def widen(self, module: nn.Module, _: object) -> None:
        own = {n: p for n, p in module.named_parameters(recurse=False) if p.is_floating_point()}
        self._quantized = {name: p for name, p in own.items() if is_wrapped(p)}
        self._stored = [(p, p.data) for p in own.values() if not is_wrapped(p)]
        for parameter, stored in self._stored:
            parameter.data = stored.to(self._dtype)
        for name, parameter in self._quantized.items():
            values: Any = parameter.data
            wide = nn.Parameter(values.dequantize().to(self._dtype), requires_grad=False)
            module._parameters[name] = wide

    def narrow(self, module: nn.Module, *_: object) -> None:
        for parameter, stored in self._stored:
            parameter.data = stored
        module._parameters.update(self._quantized)
        self._stored, self._quantized = [], {}
