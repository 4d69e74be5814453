"""Tensors without values, in which a pipeline runs while nothing is computed with its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from typing import Any, TypeAlias
from weakref import ref

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    is_traceable_wrapper_subclass_type,
)
from typing_extensions import override

from dpnb.errors import DpnbError
from dpnb.loading.components.transformers_components import find_fp32_modules
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.quantized import is_wrapped, map_plain_tensors
from dpnb.planning.operations import Operation, operation_of

Layout: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]

aten = torch.ops.aten

LOOKS: frozenset[OpOverload] = frozenset(
    {aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default}
)
"""What asks for the value of a tensor."""


UNSAID_VIEWS: frozenset[OpOverload] = frozenset(
    {
        aten._unsafe_view.default,
        aten.lift_fresh.default,
        aten.unsafe_split.Tensor,
        aten.unsafe_split_with_sizes.default,
    }
)
"""What returns the memory that it is given, without its schema saying so."""


class Kind(Enum):
    """What is done with an operation that is given a valueless tensor."""

    VIEW = "it is done"
    LOOK = "it is refused"
    CHANGE = "what it writes to is valueless afterwards"
    COMPUTE = "it returns valueless tensors"


@cache
def _kind(func: Callable[..., Any]) -> Kind:
    if not isinstance(func, OpOverload) or func.is_view or func in UNSAID_VIEWS:
        return Kind.VIEW
    if func in LOOKS:
        return Kind.LOOK
    return Kind.CHANGE if func._schema.is_mutable else Kind.COMPUTE


class ValuelessTensorError(DpnbError, RuntimeError):
    """Something decides by a value that is known only once weights are there."""


HollowError = ValuelessTensorError
"""Its former name."""


class ValuelessTensors(TorchDispatchMode):
    """A mode in which whatever depends on a valueless tensor is valueless too.

    Valueless tensors are ordinary tensors of the CPU whose memory nobody ever touches, so that
    the system never provides it. Whatever has values is computed as ever: timesteps, token ids,
    noise. Layouts are those that torch's fake tensors find for an operation; each is looked up
    once.

    Attributes:
        operations: what a device would compute since this was last cleared, and how often.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: Counter[Operation] = Counter()
        self._valueless_storages: dict[int, ref[torch.UntypedStorage]] = {}
        self._known: dict[Any, _Result] = {}
        self._meter: TensorMeter | None = None

    @classmethod
    @override
    def _should_skip_dynamo(cls) -> bool:
        """Torch would hide every operation from its compiler, which takes longer than it does."""
        return False

    @contextmanager
    def count_with(self, meter: TensorMeter) -> Iterator[None]:
        """Within, operations are seen here, and `meter` counts what they make."""
        self._meter = meter
        try:
            with self:
                yield
        finally:
            self._meter = None

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A valueless tensor."""
        return self._mark(torch.empty(tuple(shape), dtype=dtype))

    def discard_values(self, module: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
        """Give every parameter of `module`, which may be on the meta device, valueless memory.

        Buffers without values become valueless too; others keep them.

        Args:
            module: is changed, and put into evaluation mode.
            dtype: of floating-point tensors, but for those that loading keeps in float32; each
                keeps its own by default.
        """
        made: dict[int, nn.Parameter] = {}
        wide = find_fp32_modules(module, dtype)

        def replaced(owner: nn.Module, tensor: Tensor) -> Tensor:
            wanted = torch.float32 if owner in wide else dtype
            cast = None if is_wrapped(tensor) else wanted
            return map_plain_tensors(tensor.detach(), partial(self._without_values, dtype=cast))

        for owner in list(module.modules()):
            for name, parameter in list(owner._parameters.items()):
                if parameter is not None:
                    if id(parameter) not in made:
                        made[id(parameter)] = like(parameter, replaced(owner, parameter))
                    owner._parameters[name] = made[id(parameter)]
            for name, buffer in list(owner._buffers.items()):
                if buffer is not None and buffer.is_meta:
                    owner._buffers[name] = replaced(owner, buffer)
        return module.eval()

    def _without_values(self, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
        kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        return self.empty(tensor.shape, kind)

    def is_valueless(self, tensor: Tensor) -> bool:
        """Whether a tensor has no values."""
        return tensor.untyped_storage()._cdata in self._valueless_storages

    @override
    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if any(map(is_traceable_wrapper_subclass_type, types)):
            return NotImplemented  # what it is made of comes here by itself
        out = self._do(func, args, kwargs)
        if self._meter is not None:
            self._meter.note(func, (args, kwargs), out)
        return out

    def _do(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        kind = _kind(func)
        if kind is Kind.VIEW or not isinstance(func, OpOverload):
            return func(*args, **kwargs)
        inputs = _tensors((args, kwargs))
        if not any(
            tensor.untyped_storage()._cdata in self._valueless_storages for tensor in inputs
        ):
            out = func(*args, **kwargs)
            self.operations[operation_of(func, args, kwargs, inputs, out)] += 1
            return out
        if kind is Kind.LOOK:
            raise ValuelessTensorError(
                "This pipeline decides by values that its networks compute, so that its course "
                "cannot be known before it runs; measure it instead, with dpnb.record."
            )
        if kind is Kind.CHANGE:
            return self._change(func, args, kwargs, inputs)
        return self._compute(func, args, kwargs, inputs)

    def _compute(
        self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: list[Tensor]
    ) -> Any:
        key = (func, _key(args), _key(tuple(sorted(kwargs.items()))) if kwargs else ())
        result = self._known.get(key)
        if result is None:
            result = self._known[key] = _look_up(func, args, kwargs, inputs)
        self.operations[result.operation] += 1
        return result.make(self._lay_out)

    def _change(
        self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: list[Tensor]
    ) -> Any:
        """An operation that writes where values were: those are gone then."""
        changed: dict[str, Any] = {}
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = args[place] if place < len(args) else kwargs[argument.name]
                changed[argument.name] = given
                for tensor in _tensors(given):
                    self._mark(tensor)
        out = list(changed.values())
        self.operations[operation_of(func, args, kwargs, inputs, out)] += 1
        if not func._schema.returns:
            return None
        return out[0] if len(out) == 1 else tuple(out)

    def _lay_out(self, layout: Layout) -> Tensor:
        shape, stride, dtype = layout
        return self._mark(torch.empty_strided(shape, stride, dtype=dtype))

    def _mark(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key, known = storage._cdata, self._valueless_storages
        if key not in known:
            known[key] = ref(storage, lambda _: known.pop(key, None))
        return tensor


def like(parameter: nn.Parameter, tensor: Tensor) -> nn.Parameter:
    """A parameter of `tensor`, of which is known what is known of another one."""
    made = nn.Parameter(tensor, requires_grad=False)
    if not is_wrapped(parameter):
        vars(made).update(vars(parameter))
    return made


@dataclass(frozen=True)
class _Result:
    """What an operation makes of arguments of one kind.

    Attributes:
        layouts: of the tensors that it returns; other values as they are.
        is_one: whether it returns one value instead of several.
    """

    operation: Operation
    layouts: tuple[Any, ...]
    is_one: bool

    def make(self, lay_out: Callable[[Layout], Tensor]) -> Any:
        made = [lay_out(item) if isinstance(item, tuple) else item for item in self.layouts]
        return made[0] if self.is_one else tuple(made)


def _look_up(
    func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: list[Tensor]
) -> _Result:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        out = func(*_faked(args), **_faked(kwargs))
    is_one = not isinstance(out, (tuple, list))
    values = (out,) if is_one else tuple(out)
    layouts = tuple(
        (tuple(v.shape), v.stride(), v.dtype) if isinstance(v, Tensor) else v for v in values
    )
    return _Result(operation_of(func, args, kwargs, inputs, out), layouts, is_one)


def _faked(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(
            value.shape, value.stride(), dtype=value.dtype, device=value.device
        )
    if isinstance(value, (tuple, list)):
        return type(value)(_faked(item) for item in value)
    if isinstance(value, Mapping):
        return {name: _faked(item) for name, item in value.items()}
    return value


def _key(value: Any) -> Any:
    """What tells arguments apart that lead to different layouts."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple([_key(item) for item in value])
    return type(value), value


def _tensors(tree: object) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    found: list[Tensor] = []
    _collect(tree, found)
    return found


def _collect(tree: object, found: list[Tensor]) -> None:
    if isinstance(tree, Tensor):
        found.append(tree)
    elif isinstance(tree, (tuple, list)):
        for branch in tree:
            _collect(branch, found)
    elif isinstance(tree, dict):
        _collect(tuple(tree.values()), found)
