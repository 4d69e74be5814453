"""Hooks that tell when the blocks of a network compute, as wholes or in part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, TypeAlias

from torch import nn

from dpnb.nn.compiled import OutsideGraphs
from dpnb.strategies.offload.calls import Method, replace_method
from dpnb.strategies.offload.reached_parts import ReachedParts
from dpnb.strategies.undo import Undo

Tell: TypeAlias = Callable[[nn.Module], None]


def hook_blocks(
    blocks: Iterable[nn.Module], reached: ReachedParts, enter: Tell, leave: Tell, undo: Undo
) -> None:
    """Tell when a block begins to compute, and when it has computed or failed to.

    Args:
        blocks: of a network.
        reached: what is called past them; the block that it is in is entered for that.
        enter: is told of a block that is about to compute.
        leave: is told of one that has computed.
        undo: takes the inverse.
    """
    for part, block in (*((block, block) for block in blocks), *reached.parts.items()):
        if part._compiled_call_impl is not None:  # which runs hooks within its graph
            around = partial(_wrap_method, block, enter, leave)
            replace_method(part, "_compiled_call_impl", around, undo)
            continue
        # Weights have to come before any other hook of the module sees them, and leave after.
        undo.before(part, partial(_tell, enter, block), prepend=True)
        undo.after(part, partial(_tell, leave, block), always_call=True)
    for (module, name), block in reached.methods.items():
        replace_method(module, name, partial(_wrap_method, block, enter, leave), undo)


def _tell(tell: Tell, block: nn.Module, *_: object) -> None:
    tell(block)


def _wrap_method(block: nn.Module, enter: Tell, leave: Tell, method: Method) -> Method:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with OutsideGraphs(_visit(block, enter, leave)):
            return method(*args, **kwargs)

    return call


@contextmanager
def _visit(block: nn.Module, enter: Tell, leave: Tell) -> Iterator[None]:
    enter(block)
    try:
        yield
    finally:
        leave(block)
