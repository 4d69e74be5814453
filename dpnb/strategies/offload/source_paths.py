"""What code reaches for inside of an object, read from its source.

Code that calls `self.blocks[0].norm.embedding(x)` or computes with `self.bn.running_mean` reaches
into what `self` consists of, past whoever would be called otherwise.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from torch import nn

ANY = "*"
"""In a path: whichever item of a list."""


NO_RUN = frozenset({"forward", "extra_repr", "reset_parameters"})
"""Methods of layers beside which others are called in a run."""


@dataclass(frozen=True)
class SourcePath:
    """Attributes and items that code follows from `self` on, one after the other.

    Attributes:
        names: of attributes; of items their numbers, or `ANY`.
        is_called: whether what they lead to is called.
        function: the method whose code it is.
    """

    names: tuple[str, ...]
    is_called: bool
    function: str

    @property
    def is_in_other_method(self) -> bool:
        """Whether others may call that code, by another method than `forward`."""
        return self.function not in NO_RUN and not self.function.startswith("_")

    def behind(self, name: str) -> Iterator[SourcePath]:
        """The path from `self.name` on, if this one goes through that."""
        if self.names[0] == name and len(self.names) > 1:
            yield SourcePath(self.names[1:], self.is_called, self.function)


@cache
def paths_in(kind: type[nn.Module]) -> frozenset[SourcePath]:
    """The paths in the code of a class of networks, down to the class that defines `forward`.

    None in those of dpnb: they call their blocks as wholes.
    """
    if kind.__module__.partition(".")[0] == "dpnb":
        return frozenset()
    bases = kind.__mro__[: kind.__mro__.index(nn.Module)]
    forwarding = [place for place, base in enumerate(bases) if "forward" in vars(base)]
    own = bases[: forwarding[-1] + 1] if forwarding else bases
    return frozenset(path for base in own for path in find_paths(base))


@cache
def find_paths(kind: type) -> frozenset[SourcePath]:
    """The paths in the code of one class; none where its source is not known."""
    tree = read_source(kind)
    functions = () if tree is None else (n for n in ast.walk(tree) if isinstance(n, FUNCTIONS))
    used = (function for function in functions if function.name != "__init__")
    return frozenset(path for function in used for path in _paths_of(function))


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def read_source(kind: type) -> ast.Module | None:
    """The syntax tree of a class; `None` for one whose source is not there."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return None  # it was written at a prompt


def _paths_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[SourcePath]:
    called = {id(n.func) for n in ast.walk(function) if isinstance(n, ast.Call)}
    inner = {id(within) for node in ast.walk(function) if (within := _object_of(node)) is not None}
    for node in ast.walk(function):
        is_whole = isinstance(node, ast.expr) and id(node) not in inner and not _is_stored(node)
        if is_whole and (names := _names_of(node)):
            yield SourcePath(names, id(node) in called, function.name)


def _is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)


def _names_of(node: ast.AST) -> tuple[str, ...]:
    """The path that an expression is; nothing where it does not begin at `self`."""
    names: list[str] = []
    while (within := _object_of(node)) is not None:
        names.append(_name_in(node))
        node = within
    is_own = isinstance(node, ast.Name) and node.id == "self"
    return tuple(reversed(names)) if is_own else ()


def _object_of(node: ast.AST) -> ast.expr | None:
    """Of what an expression is an attribute or an item."""
    match node:
        case ast.Attribute(within) | ast.Subscript(within):
            return within
        case ast.Call(ast.Name("getattr"), [within, ast.Constant(str()), *_]):
            return within
    return None


def _name_in(node: ast.AST) -> str:
    match node:
        case ast.Attribute(_, name) | ast.Call(_, [_, ast.Constant(name), *_]):
            return str(name)
        case ast.Subscript(_, index):
            return _item_of(index)
    return ANY


def _item_of(index: ast.expr) -> str:
    if isinstance(index, ast.Constant) and isinstance(index.value, int | str):
        return str(index.value)
    return ANY
