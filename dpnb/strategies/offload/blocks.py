"""What of a network is brought in together: a residual block, a transformer block, a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from dpnb.nn.quantized import plain_tensors
from dpnb.nn.whole import Whole

SMALL = 1 << 16
"""Tensors of fewer bytes stay on the device: a copy takes longer to begin than to make."""

LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def units(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The units of a network with their names, in the order in which they are registered.

    A unit is a module that contains at most one block, or says that it is whole; blocks are items
    of lists that have children of their own. What contains more is divided, and its own tensors are
    one more unit. So is what contains nothing but one block: the block may be called by itself.

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
        yield from units(child, f"{name}.{child_name}" if name else child_name)


def is_divided(module: nn.Module) -> bool:
    """Whether the children of a module are units of their own."""
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        return True
    blocks = list(_blocks(module))
    return len(blocks) > 1 or any(_holds_no_more(module, block) for block in blocks)


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Its parameters and buffers with their children's, each once; none that are empty.

    Of a quantized weight, those that it is made of.
    """
    return list(_tensors(module, recurse=True))


def own_tensors(module: nn.Module) -> list[Tensor]:
    """Its parameters and buffers without its children's."""
    return list(_tensors(module, recurse=False))


def tied(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors in groups: those of one group are the same memory."""
    groups: dict[tuple[object, ...], list[Tensor]] = {}
    for tensor in tensors:
        key = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        groups.setdefault(key, []).append(tensor)
    return list(groups.values())


def _tensors(module: nn.Module, *, recurse: bool) -> Iterator[Tensor]:
    seen: set[int] = set()
    sources: tuple[Callable[..., Iterator[Tensor]], ...] = (module.parameters, module.buffers)
    for source in sources:
        for tensor in (plain for held in source(recurse=recurse) for plain in plain_tensors(held)):
            if tensor.numel() and id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Blocks in the lists of a module, not those inside of another; none in a whole."""
    if isinstance(module, Whole):
        return
    for child in module.children():
        if not isinstance(module, LISTS):
            yield from _blocks(child)
        elif next(child.children(), None) is not None:
            yield child


def _holds_no_more(module: nn.Module, block: nn.Module) -> bool:
    """Whether all tensors of a module are those of a block in it."""
    inner = set(map(id, _tensors(block, recurse=True)))
    return all(id(tensor) in inner for tensor in _tensors(module, recurse=True))
