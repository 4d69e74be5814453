"""Every module has tests, in a file of its name or where `tests.where` says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.slow import ROOMS
from tests.source import (
    MODULES,
    PACKAGE,
    ROOT,
    imported_modules,
    imported_names,
    syntax_tree,
)
from tests.where import PART_OF, TESTED_IN

TESTS = ROOT / "tests"


def full_name(module: str) -> str:
    """The name under which a module of the tables is imported."""
    return "dpnb" if module == "__init__" else f"dpnb.{module}"


def short_name(module: str) -> str:
    """The name that an imported module has in the tables."""
    return "__init__" if module == "dpnb" else module.removeprefix("dpnb.")


def defines_something(path: Path) -> bool:
    """Whether there are functions or classes in a file, and not only names."""
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in syntax_tree(path).body)


def twin(path: Path) -> Path:
    """The file of tests that has a module's name."""
    return TESTS / path.relative_to(PACKAGE).with_name(f"test_{path.stem}.py")


TESTED = {short_name(name): path for name, path in MODULES.items() if defines_something(path)}


def home(module: str) -> Path:
    """The file in which a module is tested."""
    while module in PART_OF:
        module = PART_OF[module]
    return TESTS / TESTED_IN[module] if module in TESTED_IN else twin(TESTED[module])


def test_every_module_without_a_file_of_its_name_is_listed_once() -> None:
    assert {*TESTED_IN, *PART_OF} == {
        module for module, path in TESTED.items() if not twin(path).exists()
    }
    assert not TESTED_IN.keys() & PART_OF.keys()


@pytest.mark.parametrize("module", TESTED_IN)
def test_a_module_is_named_where_it_is_tested(module: str) -> None:
    files = with_helpers(TESTS / TESTED_IN[module])
    imported = {name for file in files for name in imported_modules(file)}
    words = {word for file in files for word in re.findall(r"\w+", file.read_text())}
    assert full_name(module) in imported or public_names(TESTED[module]) & words


@cache
def with_helpers(path: Path) -> tuple[Path, ...]:
    """A file of tests, and those without tests that it imports."""
    found, waiting = {path}, [path]
    while waiting:
        for helper in set(helpers(waiting.pop())) - found:
            found.add(helper)
            waiting.append(helper)
    return tuple(found)


def helpers(path: Path) -> Iterator[Path]:
    """The files without tests that a file of tests imports."""
    for name in imported_names(path):
        helper = ROOT / f"{name.replace('.', '/')}.py"
        if name.startswith("tests.") and helper.exists() and not helper.stem.startswith("test_"):
            yield helper


def public_names(path: Path) -> set[str]:
    """The functions, classes and constants of a module."""
    names: set[str] = set()
    for node in syntax_tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else []
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("module", PART_OF)
def test_a_part_is_imported_by_what_it_is_part_of(module: str) -> None:
    whole = MODULES[full_name(PART_OF[module])]
    assert full_name(module) in imported_modules(whole)


@pytest.mark.parametrize("module", TESTED)
def test_every_module_has_tests_that_are_not_slow(module: str) -> None:
    """So that `pytest -m "not slow"` runs some of every module."""
    tests = home(module)
    assert not any(tests.is_relative_to(ROOT / room) for room in ROOMS)
    body = syntax_tree(tests).body
    marks = [ast.unparse(node.value) for node in body if isinstance(node, ast.Assign)]
    assert "pytest.mark.slow" not in marks
    assert any(is_quick_test(node) for node in body)


def is_quick_test(node: ast.stmt) -> bool:
    """Whether this is a test that is not marked as slow, or not all of whose cases are."""
    if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
        return False
    return "pytest.mark.slow" not in map(ast.unparse, node.decorator_list)
