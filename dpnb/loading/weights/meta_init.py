"""Modules made quickly: first their structure alone, then the tensors of a file as their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from typing_extensions import override

_FILLS = frozenset(
    {
        nn.init.constant_,
        nn.init.kaiming_normal_,
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.uniform_,
        Tensor.fill_,
        Tensor.normal_,
        Tensor.uniform_,
        Tensor.zero_,
    }
)


@dataclass(frozen=True)
class Extent:
    """How large a network is.

    Attributes:
        tensors: how many it has.
        elements: of all of them.
    """

    tensors: int
    elements: int

    @classmethod
    def around(cls, weights: Mapping[str, Tensor]) -> Extent:
        """The largest network that `weights` may belong to.

        Weights may be missing, or hold several numbers in one where they are quantized; but
        settings that ask for many times what a file holds are not of that file.
        """
        elements = sum(tensor.numel() for tensor in weights.values())
        return cls(2 * len(weights) + 1_000, 4 * elements + (1 << 26))


@contextmanager
def init_on_meta(most: Extent | None = None) -> Iterator[None]:
    """Within it modules are built on the meta device, and the drawing of fresh values is skipped.

    It acts on this thread alone.

    Args:
        most: what may be built.

    Raises:
        ValueError: more is built than that.
    """
    with torch.device("meta"), _SkipFilling(most):
        yield


@contextmanager
def init_parameters_on_meta(most: Extent | None = None) -> Iterator[None]:
    """Within it modules are built with parameters on the meta device; buffers have their values.

    Args:
        most: what may be built.

    Raises:
        ValueError: more is built than that.
    """
    from accelerate import init_empty_weights

    with _CountMade(most), init_empty_weights(include_buffers=False):
        yield


def assign_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Make each tensor of `state` the parameter or buffer of that name, without copying it.

    The same as `load_state_dict(state, strict=False, assign=True)` for plain modules, in a third
    of the time; shapes are not compared.
    """
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name, parameter in list(module.named_parameters(recurse=False)):
            if (tensor := state.get(prefix + name)) is not None:
                setattr(module, name, nn.Parameter(tensor, parameter.requires_grad))
        for name, _ in list(module.named_buffers(recurse=False)):
            if (tensor := state.get(prefix + name)) is not None:
                setattr(module, name, tensor)


class _CountMade(TorchFunctionMode):
    """Counts the tensors that modules make, and refuses too many."""

    def __init__(self, most: Extent | None) -> None:
        super().__init__()
        self.most = most
        self.made = Extent(0, 0)

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.empty and self.most is not None:
            self._count(result, self.most)
        return result

    def _count(self, tensor: Tensor, most: Extent) -> None:
        self.made = Extent(self.made.tensors + 1, self.made.elements + tensor.numel())
        if self.made.tensors > most.tensors or self.made.elements > most.elements:
            raise ValueError(
                f"they describe a network of {self.made.tensors} tensors or more, of "
                f"{self.made.elements:.1e} numbers, and its weights are far fewer"
            )


class _SkipFilling(_CountMade):
    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _FILLS:
            return args[0] if args else (kwargs or {})["tensor"]
        return super().__torch_function__(func, types, args, kwargs)
