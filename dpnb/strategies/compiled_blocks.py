"""Blocks that compute by compiled code as soon as there is some, and as written until then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.compiled import computes_as_written
from dpnb.run_listener import RunKey, RunListener
from dpnb.strategies.compile_order import (
    Order,
    Shape,
    TensorKind,
    Uncompilable,
    flatten,
    outline_module,
    unflatten,
)
from dpnb.strategies.cuda_graphs import RecordedCode
from dpnb.strategies.offload.calls import replace_method
from dpnb.strategies.undo import Undo
from dpnb.strategies.workshop import Piece, Workshop, load_code

Options: TypeAlias = tuple[tuple[str, bool], ...]

WORTH_IT = 3
"""So many calls of one kind have to be made before one like them is compiled."""

MOST_KINDS = 6
"""Kinds of calls that a block is compiled for; others compute as written."""


@dataclass(eq=False)
class _Kind:
    """Calls of a block with inputs of the same shapes.

    Attributes:
        calls: how many there were.
        piece: the code.
        recorded: the same, recorded, where that is wanted.
        failure: why there is none.
    """

    calls: int = 0
    piece: Piece | None = None
    recorded: RecordedCode | None = None
    failure: str | None = None


class CompiledBlock:
    """What stands for a block's `forward`.

    Args:
        block: the block.
        options: of torch's compiler.
        workshop: where it is compiled.
        is_recorded: whether a GPU is asked for all of it at once.
    """

    def __init__(
        self, block: nn.Module, options: Options, workshop: Workshop, *, is_recorded: bool = False
    ) -> None:
        self._block, self._options, self._workshop = block, options, workshop
        self._is_recorded = is_recorded
        self._kinds: dict[Any, _Kind] = {}
        slots = [
            (prefix, key, kept)
            for prefix, module in block.named_modules()
            for kept in (module._parameters, module._buffers)
            for key, value in kept.items()
            if value is not None
        ]
        self._names = tuple(f"{prefix}.{key}" if prefix else key for prefix, key, _ in slots)
        self._slots = [(kept, key) for _, key, kept in slots]
        self._known_weights: list[Any] = []
        self._is_in_mode = False
        self._weight_kinds: tuple[TensorKind, ...] = ()

    def replace(self, undo: Undo) -> None:
        """Stand for the block's `forward` until this is undone."""
        undo.callback(self._part)
        replace_method(self._block, "forward", self._wrap, undo)

    def _part(self) -> None:
        """Want no code any more."""
        for kind in self._kinds.values():
            if kind.piece is not None:
                kind.piece.askers.discard(self)

    def _wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if computes_as_written():
                self._is_in_mode = torch._C._len_torch_function_stack() > 0
                return method(*args, **kwargs)
            self._is_in_mode = False
            inputs: list[Tensor] = []
            try:
                shape = flatten((args, kwargs), inputs)
                kind = self._kind_for(shape, inputs)
                piece = kind.piece if kind is not None else None
                if kind is None or piece is None:
                    return method(*args, **kwargs)
                weights = self._weights()
                if self._weight_kinds != piece.order.weights:
                    return method(*args, **kwargs)
            except Uncompilable:
                return method(*args, **kwargs)
            del args, kwargs
            return unflatten(piece.shape, map(_show, self._compute(kind, piece, weights, inputs)))

        return forward

    def _compute(
        self, kind: _Kind, piece: Piece, weights: list[Tensor], inputs: list[Tensor]
    ) -> Iterable[Tensor]:
        """What compiled code makes of these; `inputs` may be empty after it."""
        if self._is_recorded and piece.path is not None:
            if kind.recorded is None:
                code = load_code(piece.path, piece.order, is_shared=False)
                kind.recorded = RecordedCode(code)
            return kind.recorded(weights, inputs)
        given = [*weights, *inputs]
        inputs.clear()
        outputs: Iterable[Tensor] = piece.run(given)
        return outputs

    def _kind_for(self, shape: Shape, inputs: list[Tensor]) -> _Kind | None:
        """Such calls, once there is code for them; it is asked for when they recur."""
        key = shape, *[(t.shape, t.stride(), t.dtype, t.device) for t in inputs]
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= MOST_KINDS:
                return None
            kind = self._kinds[key] = _Kind()
        kind.calls += 1
        if kind.piece is None and kind.failure is None and kind.calls >= WORTH_IT:
            self._ask(kind, shape, inputs)
        piece = kind.piece
        if piece is None or piece.run is None:
            return None
        return kind if all(map(_is_as_told, inputs)) else None

    def _ask(self, kind: _Kind, shape: Shape, inputs: list[Tensor]) -> None:
        try:
            told = tuple(map(TensorKind.of, inputs))
            self._weights()
            order = Order(
                outline_module(self._block, "forward"),
                self._names,
                self._weight_kinds,
                told,
                shape,
                torch.get_num_threads(),
                self._options,
            )
        except Uncompilable as error:
            kind.failure = str(error)
            return
        kind.piece = self._workshop.ask(order, self)

    def _weights(self) -> list[Tensor]:
        """The block's weights now; what they are like is looked at where they are others."""
        weights: list[Tensor] = [kept[key] for kept, key in self._slots]
        known = [(weight.data_ptr(), weight.dtype) for weight in weights]
        if known != self._known_weights:
            self._weight_kinds = tuple(map(TensorKind.of, weights))
            self._known_weights = known
        return weights

    @property
    def state(self) -> str:
        """`"compiled"`, `"waiting"`, or why it computes as written."""
        if self._is_in_mode:
            return "a mode of torch replaces its attention"
        kinds = list(self._kinds.values())
        failures = [k.failure or (k.piece and k.piece.failure) for k in kinds]
        failure = next((one for one in failures if one), None)
        if failure is not None:
            return failure
        is_there = any(kind.piece is not None and kind.piece.run is not None for kind in kinds)
        return "compiled" if is_there else "waiting"


def _show(output: Tensor) -> Tensor:
    """What compiled code has made, which a meter that watches operations has not seen yet."""
    if torch._C._len_torch_dispatch_stack() == 0:
        return output
    shown: Tensor = torch.ops.aten.lift_fresh(output)
    return shown


def _is_as_told(tensor: Tensor) -> bool:
    """Whether compiled code may read a tensor of the right shape."""
    is_plain = type(tensor) in (Tensor, nn.Parameter)
    return is_plain and tensor.device.type != "meta" and tensor.data_ptr() % 16 == 0


class Compilation(RunListener[RunKey]):
    """Says how far the compilation of some blocks has come."""

    def __init__(self, blocks: list[CompiledBlock]) -> None:
        self.blocks = blocks

    @property
    @override
    def remark(self) -> str:
        states = Counter(block.state for block in self.blocks)
        ready, waiting = states.pop("compiled", 0), states.pop("waiting", 0)
        total = len(self.blocks)
        words = f"{ready} of {total} blocks compute by compiled code"
        if waiting:
            words += f", {waiting} until now as written, until theirs is there"
        others = [f"{count} as written, since {why}" for why, count in sorted(states.items())]
        return "; ".join([words, *others]) + "."
