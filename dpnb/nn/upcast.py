"""Computing in a wider dtype than the weights are stored in, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.nn.quantized import is_wrapped

COMPUTES_IN = "dpnb_computes_in"
"""Where a network says in which dtype it computes, while its layers are upcast."""


@contextmanager
def upcast_layers(network: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within it the weights of each layer of `network` are cast to `dtype` while the layer runs.

    The stored weights do not change. The result is that of a network which is cast as a whole.
    """
    with ExitStack() as undo:
        undo.callback(vars(network).pop, COMPUTES_IN, None)
        vars(network)[COMPUTES_IN] = dtype
        for module in network.modules():
            if any(p.is_floating_point() for p in module.parameters(recurse=False)):
                layer = _UpcastLayer(dtype)
                undo.callback(layer.restore, module)
                undo.callback(module.register_forward_pre_hook(layer.upcast).remove)
                # It runs before any other hook that puts weights of the layer back.
                handle = module.register_forward_hook(layer.restore, prepend=True, always_call=True)
                undo.callback(handle.remove)
        yield


class _UpcastLayer:
    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._stored: list[tuple[nn.Parameter, Tensor]] = []
        self._quantized: dict[str, nn.Parameter] = {}

    def upcast(self, module: nn.Module, _: object) -> None:
        own = {n: p for n, p in module.named_parameters(recurse=False) if p.is_floating_point()}
        self._quantized = {name: p for name, p in own.items() if is_wrapped(p)}
        self._stored = [(p, p.data) for p in own.values() if not is_wrapped(p)]
        for parameter, stored in self._stored:
            parameter.data = stored.to(self._dtype)
        for name, parameter in self._quantized.items():
            values: Any = parameter.data
            wide = nn.Parameter(values.dequantize().to(self._dtype), requires_grad=False)
            module._parameters[name] = wide

    def restore(self, module: nn.Module, *_: object) -> None:
        for parameter, stored in self._stored:
            parameter.data = stored
        module._parameters.update(self._quantized)
        self._stored, self._quantized = [], {}
