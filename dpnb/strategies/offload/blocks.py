"""Which parts of a network are loaded together, as a block.

A block is a residual block, a transformer block, or a layer beside these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from dpnb.nn.no_split import NoSplit
from dpnb.nn.quantized import plain_tensors

SMALL_TENSOR = 1 << 16
"""Tensors of fewer bytes do not stream: a copy takes longer to begin than to make."""

LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def split_into_blocks(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The blocks of a network with their names, in the order in which they are registered.

    A block is a module that contains at most one list item with children, or says that it is whole.
    What contains more of them is divided, and its own tensors are one more block. A module that has
    no tensors beside those of its one item is divided too: the item may be called by itself. So is
    one that cannot be called, as a list.

    Args:
        module: the network, or a part of it.
        name: of that part.
    """
    if not is_divided(module):
        if next(_tensors(module, recurse=True), None) is not None:
            yield name, module
        return
    if next(_tensors(module, recurse=False), None) is not None:
        yield name, module
    for child_name, child in module.named_children():
        yield from split_into_blocks(child, f"{name}.{child_name}" if name else child_name)


def is_divided(module: nn.Module) -> bool:
    """Whether the children of a module are blocks of their own."""
    if type(module).forward is nn.Module.forward:
        return True  # nobody calls it, but what it consists of
    items = list(_list_items(module))
    return len(items) > 1 or any(_has_same_tensors(module, item) for item in items)


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Its parameters and buffers with their children's, each once; none that are empty.

    Of a quantized weight, those that it is made of.
    """
    return list(_tensors(module, recurse=True))


def own_tensors_of(module: nn.Module) -> list[Tensor]:
    """Its parameters and buffers without its children's."""
    return list(_tensors(module, recurse=False))


def group_tied_tensors(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors in groups: those of one group are the same memory."""
    groups: dict[tuple[object, ...], list[Tensor]] = {}
    for tensor in tensors:
        key = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        groups.setdefault(key, []).append(tensor)
    return list(groups.values())


def _tensors(module: nn.Module, *, recurse: bool) -> Iterator[Tensor]:
    seen: set[int] = set()
    layers = list(module.modules()) if recurse else [module]
    own: list[dict[str, Tensor | None]] = [layer._parameters for layer in layers]  # type: ignore[misc]
    own += [layer._buffers for layer in layers]
    for held in (one for some in own for one in some.values() if one is not None):
        for tensor in plain_tensors(held):
            if tensor.numel() and id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor


def _list_items(module: nn.Module) -> Iterator[nn.Module]:
    """Items with children in the lists of a module, the outermost; none in a whole."""
    if isinstance(module, NoSplit):
        return
    for child in module.children():
        if not isinstance(module, LISTS):
            yield from _list_items(child)
        elif next(child.children(), None) is not None:
            yield child


def _has_same_tensors(module: nn.Module, item: nn.Module) -> bool:
    """Whether all tensors of a module are those of an item in it."""
    inner = set(map(id, _tensors(item, recurse=True)))
    return all(id(tensor) in inner for tensor in _tensors(module, recurse=True))
