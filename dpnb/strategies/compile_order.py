"""What a compiler is told of a module: what it is made of, and what it is called with.

There are no values in it. Modules that are made alike and called alike have the same order, so that
one piece of compiled code serves them all.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterator, Mapping
from copyreg import __newobj__ as make_plainly  # type: ignore[attr-defined]
from dataclasses import dataclass
from itertools import chain
from types import FunctionType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.torch_internals import COMPUTING, without_hooks
from dpnb.strategies.offload.calls import Replacement
from dpnb.strategies.torch_settings import TorchSettings
from dpnb.switchboard import ATTRIBUTE

Nesting: TypeAlias = Any
"""How values are nested, with those that are no tensors: hashable."""

PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device)
"""Kinds of values that code may be compiled for, one by one."""

ALIGNMENT = 16
"""Compiled code takes for granted that a tensor begins at a multiple of so many bytes."""


class Uncompilable(Exception):  # noqa: N818
    """Why a module cannot be compiled as it is, as part of a sentence."""


@dataclass(frozen=True)
class TensorKind:
    """What compiled code takes for granted of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> TensorKind:
        """That of a tensor.

        Raises:
            Uncompilable: it is more than plain numbers in memory.
        """
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout is not torch.strided:
            raise Uncompilable(f"it is given a {type(tensor).__name__}")
        if tensor.device.type == "meta" or tensor.data_ptr() % ALIGNMENT:
            raise Uncompilable("it is given a tensor that does not lie as memory does")
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)

    def make(self) -> Tensor:
        """Such a tensor, with any values."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)


@dataclass(frozen=True)
class Order:
    """A module and a call of it, without values.

    Attributes:
        module: pickled, with `TensorKind`s in the place of tensors.
        names: of its parameters and buffers.
        weights: these.
        inputs: the tensors that it is called with.
        nesting: how these are nested in its arguments.
        settings: of torch.
        options: of torch's compiler.
        packages: those that its code is from.
    """

    module: bytes
    names: tuple[str, ...]
    weights: tuple[TensorKind, ...]
    inputs: tuple[TensorKind, ...]
    nesting: Nesting
    settings: TorchSettings
    options: tuple[tuple[str, bool], ...]
    packages: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What tells it from others, in every process."""
        told = self.names, self.weights, self.inputs, self.nesting, self.settings, self.options
        return hashlib.sha256(repr(told).encode() + self.module).hexdigest()

    def find_device(self) -> torch.device:
        """Where it is computed.

        Raises:
            Uncompilable: it is more than one GPU.
        """
        devices = {kind.device for kind in (*self.weights, *self.inputs)}
        away = {device for device in devices if device.type != "cpu"}
        if len(away) > 1:
            raise Uncompilable("its tensors are on several devices")
        return next(iter(away), torch.device("cpu"))


class _Outline(pickle.Pickler):
    """Writes a module without values, without hooks, and without what stands around it."""

    def __init__(self, file: io.BytesIO, module: nn.Module) -> None:
        super().__init__(file)
        self._weights = {id(w) for w in chain(module.parameters(), module.buffers())}

    @override
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            if id(obj) not in self._weights:
                raise Uncompilable("it keeps tensors beside its weights")
            return _make_tensor, (_outline_of(obj), isinstance(obj, nn.Parameter))
        if isinstance(obj, nn.Module):
            left_out = {ATTRIBUTE, *COMPUTING, *_replaced_methods(obj)}
            state = {k: _sorted(v) for k, v in vars(obj).items() if k not in left_out}
            return make_plainly, (type(obj),), {**state, **without_hooks()}
        return NotImplemented


@dataclass(frozen=True)
class _Sorted:
    """A set whose items are written in the same order by all processes."""

    items: set[Any]

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return set, (sorted(self.items, key=repr),)


def _sorted(value: Any) -> Any:
    return _Sorted(value) if type(value) is set else value


def _outline_of(tensor: Tensor) -> TensorKind:
    if type(tensor) not in (Tensor, nn.Parameter):
        raise Uncompilable(f"a weight is a {type(tensor).__name__}")
    return TensorKind(tuple(tensor.shape), tensor.stride(), tensor.dtype, torch.device("meta"))


def _make_tensor(kind: TensorKind, is_parameter: bool) -> Tensor:
    made = kind.make()
    return nn.Parameter(made, requires_grad=False) if is_parameter else made


def outline_module(module: nn.Module) -> bytes:
    """A module without values, pickled, as its class computes it.

    Args:
        module: the module; what stands around it, in its attributes or as hooks, is left out.

    Raises:
        Uncompilable: something else than its own code acts within it, or it is made of what
            another process cannot know.
    """
    if any(_is_changed(part) for part in module.modules() if part is not module):
        raise Uncompilable("another strategy acts within it")
    file = io.BytesIO()
    try:
        _Outline(file, module).dump(module)
    except Uncompilable:
        raise
    except Exception as error:  # what others have put into it may refuse in whatever way
        raise Uncompilable("it is made of what another process cannot be told of") from error
    if b"__main__" in file.getvalue():
        raise Uncompilable("its code is in a notebook or a script, not in a module")
    return file.getvalue()


def _is_changed(part: nn.Module) -> bool:
    """Whether something stands around what a part of a module computes."""
    if type(part).forward is nn.Module.forward:
        return False  # a list, which computes nothing
    own = {*COMPUTING, *_replaced_methods(part)} & vars(part).keys()
    return bool(own or part._forward_hooks or part._forward_pre_hooks)


def _replaced_methods(part: nn.Module) -> set[str]:
    """The methods of its class in whose place a module has functions of its own."""
    kinds = (FunctionType, Replacement)
    names = {name for name, value in vars(part).items() if isinstance(value, kinds)}
    return {name for name in names if any(name in vars(kind) for kind in type(part).__mro__)}


def packages_of(module: nn.Module) -> tuple[str, ...]:
    """The packages that the code of a module is from, but for torch itself."""
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    names = {kind.__module__.partition(".")[0] for kind in kinds}
    return tuple(sorted(names - {"torch", "builtins", "typing", "abc"}))


def flatten(value: Any, tensors: list[Any]) -> Nesting:
    """Collect what is in `value`, and say how it is nested.

    Args:
        value: tensors, numbers, text, and tuples, lists and mappings of them.
        tensors: takes the tensors.

    Raises:
        Uncompilable: there is something else in it.
    """
    if isinstance(value, Tensor):
        tensors.append(value)
        return "tensor"
    if isinstance(value, PLAIN):
        return "value", type(value), value
    if type(value) in (tuple, list):
        return "items", type(value), tuple(flatten(item, tensors) for item in value)
    if isinstance(value, Mapping):
        kind: Any = dict if type(value) is dict else type(value)
        return "entries", kind, tuple((k, flatten(v, tensors)) for k, v in value.items())
    raise Uncompilable(f"it is given or gives a {type(value).__name__}")


def unflatten(nesting: Nesting, tensors: Iterator[Any]) -> Any:
    """The value that `flatten` has described, around these tensors."""
    if nesting == "tensor":
        return next(tensors)
    what, kind, content = nesting
    if what == "value":
        return content
    if what == "items":
        return kind(unflatten(item, tensors) for item in content)
    entries = {name: unflatten(item, tensors) for name, item in content}
    return entries if kind is dict else kind(**entries)
