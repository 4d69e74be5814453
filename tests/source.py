"""The package's source, as the tests of its shape read it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dpnb"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """The dotted name under which a file of the package is imported."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in FILES}


def within(path: Path) -> str:
    """Where a file of the package is in it."""
    return path.relative_to(PACKAGE).as_posix()


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported_names(path: Path, with_types: bool = True) -> Iterator[str]:
    """The full name of whatever a file imports, wherever it does so.

    Args:
        path: a file of Python.
        with_types: also what is imported for annotations alone, under `TYPE_CHECKING`.
    """
    for node in _nodes(syntax_tree(path), with_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path: Path, with_types: bool = True) -> set[str]:
    """The modules of the package whose names a file imports; a folder only for names of its own."""
    found: set[str] = set()
    for node in _nodes(syntax_tree(path), with_types):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found & MODULES.keys()


def _nodes(node: ast.AST, with_types: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if with_types or not _is_for_types(child):
            yield child
            yield from _nodes(child, with_types)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def public_functions(path: Path) -> list[ast.FunctionDef]:
    """The public functions of a module."""
    return _public_in(syntax_tree(path))


def public_methods(path: Path) -> list[ast.FunctionDef]:
    """The public methods of all classes of a module, without properties."""
    owners = [node for node in ast.walk(syntax_tree(path)) if isinstance(node, ast.ClassDef)]
    return [method for owner in owners for method in _public_in(owner)]


def _public_in(owner: ast.Module | ast.ClassDef) -> list[ast.FunctionDef]:
    functions = [node for node in owner.body if isinstance(node, ast.FunctionDef)]
    return [node for node in functions if not node.name.startswith("_") and not _is_property(node)]


def _is_property(node: ast.FunctionDef) -> bool:
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any(name.endswith(("property", ".setter")) for name in decorators)
