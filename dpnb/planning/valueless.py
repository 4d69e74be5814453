"""Tensors without values, in which a pipeline runs while nothing is computed with its weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator, OpOverload
from torch._prims_common import make_contiguous_strides_for
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    is_traceable_wrapper_subclass_type,
)
from typing_extensions import Self, override

from dpnb.errors import UnknownValueError
from dpnb.loading.components.transformers_components import find_fp32_modules
from dpnb.metering.higher_order import unfold
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.quantized import is_wrapped, map_plain_tensors
from dpnb.planning.layouts import Layout, Result, find_layouts, layout_key, list_tensors
from dpnb.planning.masks import index_by_masks, masks_of
from dpnb.planning.operation_kinds import Kind, kind_of
from dpnb.planning.operations import Operation, operation_of
from dpnb.planning.unreserved import empty_strided
from dpnb.planning.value_reads import ValueReads
from dpnb.planning.workspaces import CardLibraries

aten = torch.ops.aten

SMALL = 1 << 20
"""Floating-point tensors up to so many bytes keep their values where only a shape is asked for."""

SMALL_MASK = 1 << 26
"""Other tensors, by whose values code is apt to decide, keep them up to so many bytes."""

NOISE = (aten.randn.default, aten.randn.generator, aten.rand.default, aten.rand.generator)
LARGE = 1 << 28
"""Bytes of noise beyond which it is not even drawn."""

SCRATCH = 0
"""Stands among a meter's events for what a kernel takes beside tensors, while it computes."""

UNKNOWN = (
    "This pipeline decides by values that its networks compute, so that its course cannot be known "
    "before it runs; measure it instead, with dpnb.record."
)


class ValuelessTensorError(UnknownValueError):
    """Something decides by a value that is known only once weights are there."""


HollowError = ValuelessTensorError
"""Its former name."""


class ValuelessTensors(TorchDispatchMode):
    """A mode in which whatever depends on a valueless tensor is valueless too.

    Valueless tensors are ordinary tensors of the CPU whose memory nobody ever touches, so that
    the system never provides it. Whatever has values is computed as ever: timesteps, token ids,
    noise. That a network gives one number everywhere is taken to be false. Layouts are those
    that torch's fake tensors find for an operation; each is looked up once.

    Attributes:
        operations: what a device would compute since this was last cleared, and how often.
        card: that would compute; its kernels' scratch is noted among the events of a meter.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: Counter[Operation] = Counter()
        self.card: CardLibraries | None = None
        self._scratch = 0
        self._valueless_storages: dict[int, ref[torch.UntypedStorage]] = {}
        self._equalities: dict[int, ref[torch.UntypedStorage]] = {}
        self._known: dict[Any, Result] = {}
        self._meter: TensorMeter | None = None
        self._reads = ValueReads(self._refuse_look)
        self._depth = 0

    @override
    def __enter__(self) -> Self:
        if self._depth == 0:
            self._reads.__enter__()  # type: ignore[no-untyped-call]
        self._depth += 1
        return super().__enter__()  # type: ignore[no-any-return,no-untyped-call]

    @override
    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._depth -= 1
        if self._depth == 0:
            self._reads.__exit__(*error)  # type: ignore[no-untyped-call]

    def _refuse_look(self, tensor: Tensor) -> None:
        if self.is_valueless(tensor):
            raise ValuelessTensorError(UNKNOWN)

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
        if isinstance(func, HigherOrderOperator):
            with self:
                return unfold(func, args, kwargs)
        if torch.is_inference_mode_enabled() and isinstance(func, OpOverload):
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = self._do(func, args, kwargs)
        if self._meter is not None:
            self._meter.note(func, (args, kwargs), out)
            if self._scratch and self._meter.events is not None:
                self._meter.events.extend((SCRATCH, self._scratch))
        self._scratch = 0
        return out

    def _do(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        kind = kind_of(func)
        if kind is Kind.VIEW or not isinstance(func, OpOverload):
            return func(*args, **kwargs)
        inputs = list_tensors((args, kwargs))
        if not self._has_valueless(inputs):
            if func in NOISE and math.prod(args[0]) * _dtype(kwargs).itemsize > LARGE:
                return self._lay_out_noise(func, args, kwargs)
            return self._compute_values(func, args, kwargs, inputs)
        match kind:
            case Kind.LOOK:
                raise ValuelessTensorError(UNKNOWN)
            case Kind.COMPUTE if func is aten.all.default and self._is_equality(args[0]):
                return args[0].new_zeros(())
            case Kind.SHAPE if _is_small_like(func, args, kwargs):
                return self._compute_values(func, args, kwargs, inputs)
            case Kind.FILL if self._can_fill(inputs):
                self._valueless_storages.pop(inputs[0].untyped_storage()._cdata)
                return self._compute_values(func, args, kwargs, inputs)
            case Kind.FILL | Kind.CHANGE:
                return self._change(func, args, kwargs, inputs)
        return self._compute(func, args, kwargs, inputs)

    def _has_valueless(self, tensors: Sequence[Tensor]) -> bool:
        known = self._valueless_storages
        return any(tensor.untyped_storage()._cdata in known for tensor in tensors)

    def _compute_values(
        self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: list[Tensor]
    ) -> Any:
        out = func(*args, **kwargs)
        self.operations[operation_of(func, args, kwargs, inputs, out)] += 1
        return out

    def _can_fill(self, inputs: Sequence[Tensor]) -> bool:
        """Whether the first of `inputs`, without values, gets values everywhere by the others."""
        filled, *others = inputs
        is_whole = filled.nbytes == filled.untyped_storage().nbytes()
        is_small = _is_small(filled.numel(), filled.dtype)
        return is_whole and is_small and not self._has_valueless(others)

    def _compute(
        self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: list[Tensor]
    ) -> Any:
        masks = masks_of(func, args)
        if masks:
            if self._has_valueless(masks):
                raise ValuelessTensorError(UNKNOWN)
            func, args, kwargs = index_by_masks(func, args, kwargs)
        key = (func, layout_key(args), layout_key(tuple(sorted(kwargs.items()))) if kwargs else ())
        result = self._known.get(key)
        if result is None:
            result = find_layouts(func, args, kwargs, inputs)
            if result is None:
                raise ValuelessTensorError(UNKNOWN)
            if self.card is not None:
                result = replace(result, scratch=self.card.scratch(func, args, kwargs, result))
            self._known[key] = result
        self.operations[result.operation] += 1
        self._scratch = result.scratch
        out = result.make(self._lay_out)
        if func is aten.eq.Scalar and args[0].is_floating_point():
            _note(out, self._equalities)
        return out

    def _change(
        self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: list[Tensor]
    ) -> Any:
        """An operation that writes where values were: those are gone then."""
        changed: dict[str, Any] = {}
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = args[place] if place < len(args) else kwargs[argument.name]
                changed[argument.name] = given
                for tensor in list_tensors(given):
                    self._mark(tensor)
        out = list(changed.values())
        self.operations[operation_of(func, args, kwargs, inputs, out)] += 1
        if not func._schema.returns:
            return None
        return out[0] if len(out) == 1 else tuple(out)

    def _lay_out_noise(
        self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Tensor:
        noise = self._lay_out(
            (tuple(args[0]), make_contiguous_strides_for(args[0]), _dtype(kwargs))
        )
        self.operations[operation_of(func, args, kwargs, [], noise)] += 1
        return noise

    def _lay_out(self, layout: Layout) -> Tensor:
        shape, stride, dtype = layout
        return self._mark(empty_strided(shape, stride, dtype))

    def _is_equality(self, tensor: Tensor) -> bool:
        """Whether a tensor says where what a network gives is one number."""
        return tensor.untyped_storage()._cdata in self._equalities

    def _mark(self, tensor: Tensor) -> Tensor:
        return _note(tensor, self._valueless_storages)


def _note(tensor: Tensor, known: dict[int, ref[torch.UntypedStorage]]) -> Tensor:
    """Note the memory of `tensor` in `known` for as long as it is there."""
    storage = tensor.untyped_storage()
    key = storage._cdata
    if key not in known:
        known[key] = ref(storage, lambda _: known.pop(key, None))
    return tensor


def like(parameter: nn.Parameter, tensor: Tensor) -> nn.Parameter:
    """A parameter of `tensor`, of which is known what is known of another one."""
    made = nn.Parameter(tensor, requires_grad=parameter.requires_grad)
    if not is_wrapped(parameter):
        vars(made).update(vars(parameter))
    return made


def _is_small_like(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether what `func` makes in the likeness of its first argument is small."""
    is_of_size = func._schema.name.startswith("aten::new_")
    numel = math.prod(args[1] if is_of_size else args[0].shape)
    return _is_small(numel, kwargs.get("dtype") or args[0].dtype)


def _is_small(numel: int, dtype: torch.dtype) -> bool:
    is_number = dtype.is_floating_point or dtype.is_complex
    return numel * dtype.itemsize <= (SMALL if is_number else SMALL_MASK)


def _dtype(kwargs: Mapping[str, Any]) -> torch.dtype:
    """Of what a function makes of nothing."""
    given: torch.dtype | None = kwargs.get("dtype")
    return given or torch.get_default_dtype()
