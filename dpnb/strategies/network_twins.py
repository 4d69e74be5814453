"""Twins of a network: the same modules around other tensors, to try on them what may fail.

A twin shares no tensor and no hook with the network, which may be anywhere and in any state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from typing_extensions import override

from dpnb.nn.compiled import plain_network
from dpnb.switchboard import ATTRIBUTE

PATCHES = ("forward", "_call_impl", "_compiled_call_impl", "_hf_hook", ATTRIBUTE)
"""What stands in the way of a module's own computation, or belongs to the original alone."""

PERIOD = 4093
"""After so many values those of a weight repeat; a prime, so that its rows differ."""

RANDOM = ("uniform_", "normal_")
"""How the names of functions end that fill a tensor with random numbers."""


class NetworkTwin:
    """A network of the same shape, of which some modules have values, all others none.

    Values are random, always the same, in float32 on the CPU.

    Args:
        network: is left as it is.
        real: the modules of it that are to compute, with all modules within them.

    Attributes:
        twins: every module of the network → its twin; none for what `torch.compile` has wrapped.
        network: the twin of the whole.

    Raises:
        ValueError: a weight of them has no shape at present, as placements leave it.
    """

    def __init__(self, network: nn.Module, real: Collection[nn.Module]) -> None:
        self.twins: dict[nn.Module, nn.Module] = {}
        self._real = {within for module in real for within in module.modules()}
        self._noise = torch.randn(PERIOD, generator=torch.Generator().manual_seed(0))
        self.network = self._twin(plain_network(network))

    def _twin(self, module: nn.Module) -> nn.Module:
        plain = plain_network(module)
        if plain in self.twins:
            return self.twins[plain]
        own = {name: value for name, value in vars(plain).items() if name not in PATCHES}
        hooks = [name for name, value in own.items() if "_hooks" in name and value is not None]
        twin = self.twins[plain] = object.__new__(type(plain))
        vars(twin).update(own | {name: OrderedDict() for name in hooks})
        is_real = plain in self._real
        vars(twin).update(
            training=False,
            _parameters=self._copy_shapes(plain._parameters, is_real),
            _buffers=self._copy_shapes(plain._buffers, is_real),
            _modules={key: self._twin_of_child(child) for key, child in plain._modules.items()},
        )
        if "processor" in own:
            vars(twin)["processor"] = copy(own["processor"])
        return twin

    def _twin_of_child(self, child: nn.Module | None) -> nn.Module | None:
        return None if child is None else self._twin(child)

    def _copy_shapes(self, tensors: Mapping[str, Any], is_real: bool) -> dict[str, Any]:
        return {
            name: tensor if tensor is None else self._copy_shape(tensor, is_real)
            for name, tensor in tensors.items()
        }

    def _copy_shape(self, tensor: Tensor, is_real: bool) -> Tensor:
        made = self._draw(tensor) if is_real else torch.empty(tensor.shape, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        return nn.Parameter(made, requires_grad=False) if is_parameter else made

    def _draw(self, tensor: Tensor) -> Tensor:
        """Random values of a size that lets a layer's output be as large as its input.

        They repeat one another, since drawing millions anew would take longer than all else.
        """
        if tensor.numel() == 0:
            raise ValueError("A weight has no shape at present; switch off what has moved it.")
        if not tensor.is_floating_point():
            return torch.zeros(tensor.shape, dtype=tensor.dtype)
        drawn = self._noise.repeat(tensor.numel() // PERIOD + 1)[: tensor.numel()]
        drawn = drawn.reshape(tensor.shape)
        return drawn * (tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 1.0)


class _DrawingNothing(TorchFunctionMode):
    """A mode in which weights that are made begin with zeros, and no random number is drawn."""

    @override
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.__name__.endswith(RANDOM):
            filled = args[0] if args else kwargs["tensor"]
            return filled.zero_()
        return func(*args, **kwargs)


@contextmanager
def try_apart() -> Iterator[None]:
    """Within, what a thread computes is neither recorded, nor counted, nor random for others."""
    with _disable_current_modes(), torch.no_grad(), _DrawingNothing():
        yield
