"""Blocks that compute by compiled code as soon as there is some, and as written until then."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.compiled import computes_as_written
from dpnb.nn.torch_internals import function_modes, has_dispatch_modes
from dpnb.run_listener import RunKey, RunListener
from dpnb.strategies.block_contents import BlockContents
from dpnb.strategies.compile_order import (
    ALIGNMENT,
    Nesting,
    Order,
    TensorKind,
    Uncompilable,
    flatten,
    outline_module,
    packages_of,
    unflatten,
)
from dpnb.strategies.compile_queue import CompiledCode, CompileQueue, load_code
from dpnb.strategies.cuda_graphs import Record, RecordedCode
from dpnb.strategies.offload.calls import replace_method
from dpnb.strategies.torch_settings import TorchSettings
from dpnb.strategies.undo import Undo

Options: TypeAlias = tuple[tuple[str, bool], ...]

CALLS_UNTIL_COMPILED = 3
"""So many calls of one kind have to be made before one like them is compiled."""

CALLS_UNTIL_LASTING = 3
"""After so many calls in a row, what is otherwise in a block is there to stay."""

MOST_KINDS = 6
"""Kinds of calls that a block has code for; those of the last calls."""

MOST_SEEN = 32
"""Kinds of calls without code that are counted; those of the last calls."""

MODE = "a mode of torch replaces its attention"
UNSTEADY = "something in it is another thing in every call"


@dataclass(eq=False)
class _Kind:
    """Calls of a block with inputs of the same shapes.

    Attributes:
        calls: how many there were.
        code: the code.
        recorded: the same, recorded, where that is wanted.
        is_recordable: whether that can be done.
        failure: why there is no code, or none that computes.
    """

    calls: int = 0
    code: CompiledCode | None = None
    recorded: RecordedCode | None = None
    is_recordable: bool = True
    failure: str | None = None


class CompiledBlock:
    """What stands for a block's `forward`.

    Code serves as long as the block is made of the same parts, slots and attributes. Where some are
    others for a few calls, these compute as written; where they stay, there will be other code.

    Args:
        block: the block.
        options: of torch's compiler.
        queue: where it is compiled.
        record: how code is recorded, where a GPU is asked for all of it at once.
    """

    def __init__(
        self,
        block: nn.Module,
        options: Options,
        queue: CompileQueue,
        record: Record | None = None,
    ) -> None:
        self._block, self._options, self._queue = block, options, queue
        self._record = record
        self._contents: BlockContents | None = None
        self._seen: OrderedDict[Any, _Kind] = OrderedDict()
        self._kinds: OrderedDict[Any, _Kind] = OrderedDict()
        self._present: _Kind | None = None
        self._known_weights: list[Any] = []
        self._weight_kinds: tuple[TensorKind, ...] = ()
        self._other_calls = self._renewals = 0
        self._reason = ""

    def replace(self, undo: Undo) -> None:
        """Stand for the block's `forward` until this is undone."""
        undo.callback(self._forget)
        replace_method(self._block, "forward", self._wrap, undo)

    def _forget(self) -> None:
        """Want no code any more."""
        for kind in self._kinds.values():
            self._release(kind)
        self._kinds.clear()
        self._seen.clear()
        self._present = None

    def _release(self, kind: _Kind) -> None:
        if kind.code is not None:
            kind.code.wanted_by.discard(self)

    def _wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            inputs: list[Tensor] = []
            found = self._find_code(args, kwargs, inputs)
            if found is None:
                return method(*args, **kwargs)
            kind, code, weights = found
            try:
                outputs = self._compute(kind, code, weights, inputs)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # of code that a compiler has written
                result = method(*args, **kwargs)  # what fails here too is no fault of the code
                kind.failure = f"its code has failed with {type(error).__name__}"
                return result
            return unflatten(code.nesting, map(_show_to_meters, outputs))

        return forward

    def _find_code(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], inputs: list[Tensor]
    ) -> tuple[_Kind, CompiledCode, list[Tensor]] | None:
        """What this call may be computed by, and with which weights; `inputs` takes its tensors."""
        if computes_as_written():
            self._reason = MODE if function_modes() else ""
            return None
        try:
            weights = self._find_weights()
            if weights is None:
                return None
            self._reason = UNSTEADY if self._renewals >= CALLS_UNTIL_LASTING else ""
            kind = self._kind_of(flatten((args, kwargs), inputs), inputs)
        except Uncompilable as error:
            self._reason = str(error)
            return None
        self._present = kind
        if kind.failure is not None or kind.code is None or kind.code.run is None:
            return None
        return (kind, kind.code, weights) if all(map(_is_as_told, inputs)) else None

    def _find_weights(self) -> list[Tensor] | None:
        """The block's weights now; `None` where it is made otherwise than code takes for granted.

        Raises:
            Uncompilable: they are not plain numbers in memory.
        """
        if self._contents is None:
            self._contents = BlockContents(self._block)
        weights = self._contents.find_weights()
        if weights is None:
            self._other_calls += 1
            if self._other_calls < CALLS_UNTIL_LASTING:
                return None
            self._forget()
            self._contents, self._renewals, self._other_calls = None, self._renewals + 1, 0
            return None
        self._other_calls = 0
        known = [(w.data_ptr(), w.dtype, w.shape, w.stride()) for w in weights]
        if known != self._known_weights:
            self._known_weights = []
            kinds = tuple(map(TensorKind.of, weights))
            if kinds != self._weight_kinds:
                self._forget()
            self._weight_kinds, self._known_weights = kinds, known
        return weights

    def _kind_of(self, nesting: Nesting, inputs: list[Tensor]) -> _Kind:
        """Such calls; code is asked for when they recur."""
        settings = TorchSettings.now()
        key = nesting, settings, *[(t.shape, t.stride(), t.dtype, t.device) for t in inputs]
        kind = self._kinds.get(key)
        if kind is not None:
            self._kinds.move_to_end(key)
            return kind
        kind = self._seen.pop(key, None) or _Kind()
        kind.calls += 1
        if kind.calls < CALLS_UNTIL_COMPILED:
            self._seen[key] = kind
            if len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)
            return kind
        self._kinds[key] = kind
        if len(self._kinds) > MOST_KINDS:
            self._release(self._kinds.popitem(last=False)[1])
        self._ask(kind, nesting, inputs, settings)
        return kind

    def _ask(
        self, kind: _Kind, nesting: Nesting, inputs: list[Tensor], settings: TorchSettings
    ) -> None:
        assert self._contents is not None
        self._renewals = 0
        try:
            order = Order(
                outline_module(self._block),
                self._contents.names,
                self._weight_kinds,
                tuple(map(TensorKind.of, inputs)),
                nesting,
                settings,
                self._options,
                packages_of(self._block),
            )
            order.find_device()
        except Uncompilable as error:
            kind.failure = str(error)
            return
        kind.code = self._queue.ask(order, self)

    def _compute(
        self, kind: _Kind, code: CompiledCode, weights: list[Tensor], inputs: list[Tensor]
    ) -> Iterable[Tensor]:
        """What compiled code makes of these."""
        if self._record is not None and kind.is_recordable and kind.recorded is None:
            try:
                alone = load_code(code.path, code.order, is_shared=False)
                kind.recorded = RecordedCode(alone, self._record)
            except (OSError, RuntimeError):  # its file is gone
                kind.is_recordable = False
        if kind.recorded is not None:
            return kind.recorded(weights, inputs)
        outputs: Iterable[Tensor] = code.run([*weights, *inputs])
        return outputs

    @property
    def state(self) -> str:
        """`"compiled"`, `"waiting"`, or why it computes as written: of its last calls."""
        kind = self._present
        if self._reason or kind is None:
            return self._reason or "waiting"
        if kind.failure is not None or kind.code is None:
            return kind.failure or "waiting"
        if kind.code.failure is not None:
            return kind.code.failure
        return "waiting" if kind.code.run is None else "compiled"


def _show_to_meters(output: Tensor) -> Tensor:
    """What compiled code has made, which a meter that watches operations has not seen yet."""
    if not has_dispatch_modes():
        return output
    shown: Tensor = torch.ops.aten.lift_fresh(output)
    return shown


def _is_as_told(tensor: Tensor) -> bool:
    """Whether compiled code may read a tensor of the right shape."""
    is_plain = type(tensor) in (Tensor, nn.Parameter)
    return is_plain and tensor.device.type != "meta" and tensor.data_ptr() % ALIGNMENT == 0


class CompileProgress(RunListener[RunKey]):
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
