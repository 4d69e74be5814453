"""What others than its caller reach for in a network, past the blocks that are loaded together.

A network's code may call a part of one of its blocks by itself, or a method of it, or compute with
one of its weights; and so may the code of the pipeline that has the network.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

from torch import Tensor, nn

from dpnb.nn.compiled import plain_network
from dpnb.strategies.offload.blocks import is_divided, split_into_blocks
from dpnb.strategies.offload.calls import public_methods_of
from dpnb.strategies.offload.source_paths import ANY, SourcePath, paths_in

SAYS_NO_VALUE = frozenset(
    {"device", "dtype", "shape", "ndim", "size", "numel", "dim", "is_meta", "requires_grad"}
)
"""What is asked of a tensor without a look at its values."""


@dataclass
class ReachedParts:
    """What is reached for in a network.

    Attributes:
        parts: that are called by themselves → the block that they are in.
        methods: of modules, other than `forward` → the block that the module is in, or is.
        tensors: that the network's code computes with, by their ids.
        tensors_from_outside: that the pipeline's code computes with.
    """

    parts: dict[nn.Module, nn.Module] = field(default_factory=dict)
    methods: dict[tuple[nn.Module, str], nn.Module] = field(default_factory=dict)
    tensors: set[int] = field(default_factory=set)
    tensors_from_outside: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Blocks:
    """The blocks of a network by their names.

    Args:
        all: of them.
        whole: those whose children are no blocks of their own.
    """

    all: dict[str, nn.Module]
    whole: dict[str, nn.Module]

    @classmethod
    def of(cls, network: nn.Module) -> _Blocks:
        blocks = dict(split_into_blocks(network))
        return cls(blocks, {name: one for name, one in blocks.items() if not is_divided(one)})

    def find(self, name: str) -> nn.Module | None:
        """The block that a module of this name is in, or is itself."""
        if name in self.all:
            return self.all[name]
        parents = name.split(".")
        prefixes = (".".join(parents[:count]) for count in range(len(parents) - 1, 0, -1))
        return next((self.whole[prefix] for prefix in prefixes if prefix in self.whole), None)


def find_reached_parts(network: nn.Module, paths: Iterable[SourcePath]) -> ReachedParts:
    """What is reached for past the blocks of a network.

    Args:
        network: the network.
        paths: that the code of the pipeline follows from the network on.
    """
    found = ReachedParts()
    blocks = _Blocks.of(network)
    plain = plain_network(network)
    outer = [(name, module) for name, module in network.named_modules() if is_divided(module)]
    for name, module in outer:
        for path in paths_in(cast(Hashable, type(module))):
            for end in _follow(module, name, path.names):
                comes_with_call = end.module is module and not path.is_in_other_method
                _note(found, end, path, blocks, None if comes_with_call else found.tensors)
    for path in paths:
        for end in _follow(plain, "", path.names):
            _note(found, end, path, blocks, found.tensors_from_outside)
    found.methods = {key: block for key, block in found.methods.items() if key[0] is not plain}
    return found


def find_read_tensors(network: nn.Module, paths: Iterable[SourcePath]) -> set[int]:
    """Ids of the tensors that are needed while the layer which has them does not compute.

    Args:
        network: the network.
        paths: that the code of the pipeline follows from the network on.
    """
    plain = plain_network(network)
    ends = [(end, True) for path in paths for end in _follow(plain, "", path.names)]
    for name, module in network.named_modules():
        for path in paths_in(cast(Hashable, type(module))):
            for end in _follow(module, name, path.names):
                ends.append((end, end.module is not module or path.is_in_other_method))
    read = (_read_tensor(end) for end, is_past_layer in ends if is_past_layer)
    return {id(tensor) for tensor in read if tensor is not None}


def find_calls_past(network: nn.Module, paths: Iterable[SourcePath]) -> list[tuple[nn.Module, str]]:
    """What the code of a pipeline calls in a network, past the network itself.

    Args:
        network: the network.
        paths: that the code of the pipeline follows from the network on.

    Returns:
        Parts of it, and which of their methods is called.
    """
    plain = plain_network(network)
    found: dict[tuple[nn.Module, str], None] = {}
    for path in paths:
        for end in _follow(plain, "", path.names) if path.is_called else ():
            if end.module is not plain and not end.rest:
                found[end.module, "forward"] = None
            elif end.module is not plain and _is_method(end.module, end.rest):
                found[end.module, end.rest[0]] = None
    return list(found)


def find_dtypes_asked(network: nn.Module, paths: Iterable[SourcePath]) -> list[nn.Module]:
    """The parts of a network that the code of a pipeline asks for their dtype.

    Args:
        network: the network.
        paths: that the code of the pipeline follows from the network on.
    """
    plain = plain_network(network)
    ends = [end for path in paths for end in _follow(plain, "", path.names)]
    asked = dict.fromkeys(end.module for end in ends if end.rest == ("dtype",))
    return [module for module in asked if module is not plain]


@dataclass(frozen=True)
class _End:
    """Where a path has left the modules: at one of them, with names left."""

    name: str
    module: nn.Module
    rest: tuple[str, ...]


def _follow(module: nn.Module, name: str, names: tuple[str, ...]) -> Iterator[_End]:
    if names:
        inner = module._modules
        chosen = list(inner) if names[0] == ANY else [names[0]] if names[0] in inner else []
        for one in chosen:
            child = inner[one]
            if child is not None:
                yield from _follow(child, f"{name}.{one}" if name else one, names[1:])
        if chosen:
            return
    yield _End(name, module, names)


def _note(
    found: ReachedParts,
    end: _End,
    path: SourcePath,
    blocks: _Blocks,
    tensors: set[int] | None,
) -> None:
    """Note what is at the end of a path, if that is past a block."""
    block = blocks.find(end.name)
    if not end.rest:
        if path.is_called and block is not None and block is not end.module:
            found.parts[end.module] = block
        return
    tensor = _read_tensor(end)
    if tensor is not None and tensors is not None:
        tensors.add(id(tensor))
    elif path.is_called and block is not None and _is_method(end.module, end.rest):
        found.methods[end.module, end.rest[0]] = block


def _read_tensor(end: _End) -> Tensor | None:
    """The tensor at the end of a path, if its values are looked at."""
    if not end.rest or not SAYS_NO_VALUE.isdisjoint(end.rest[1:2]):
        return None
    tensor = end.module._parameters.get(end.rest[0])
    return end.module._buffers.get(end.rest[0]) if tensor is None else tensor


def _is_method(module: nn.Module, rest: tuple[str, ...]) -> bool:
    return len(rest) == 1 and rest[0] != "forward" and rest[0] in public_methods_of(type(module))
