"""Modules made quickly: first their structure alone, then the tensors of a file as their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def without_values() -> Iterator[None]:
    """Within it modules are built on the meta device, and the drawing of fresh values is skipped.

    It acts on this thread alone.
    """
    with torch.device("meta"), _Unfilled():
        yield


def assign(model: nn.Module, state: Mapping[str, Tensor]) -> None:
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


class _Unfilled(TorchFunctionMode):
    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
