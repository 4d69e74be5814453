"""What things are called: functions by verbs, and no two public functions alike."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

import pytest

from tests.source import FILES, PACKAGE, ROOT, public_functions, public_methods, within

IRREGULAR = re.compile(
    "begun|bound|broken|built|chosen|done|drawn|fed|found|frozen|given|gone|held|hidden|kept|known|"
    "left|lent|made|seen|sent|shown|taken|told|written"
)
NO_PARTICIPLES = {"embed", "feed", "heading", "need", "seed", "setting", "settings", "string"}

SHARED_NAMES = {"main": "where a program begins"}
"""Public functions that several modules have under one name, and why."""


def is_participle(name: str) -> bool:
    """Whether the first word of a name says what was done, instead of what to do."""
    word = name.partition("_")[0]
    if IRREGULAR.fullmatch(word):
        return True
    return word.endswith(("ed", "ing")) and word not in NO_PARTICIPLES


def test_functions_are_verbs() -> None:
    named = [
        f"{within(path)}: {function.name}"
        for path in FILES
        for function in (*public_functions(path), *public_methods(path))
    ]
    participles = [name for name in named if is_participle(name.partition(": ")[2])]
    assert len(participles) <= 0.03 * len(named), "\n".join(participles)


def test_no_two_modules_have_public_functions_of_one_name() -> None:
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for path in FILES:
        for function in public_functions(path):
            homes[function.name].add(within(path))
    shared = {name: files for name, files in homes.items() if len(files) > 1}
    assert {name: files for name, files in shared.items() if name not in SHARED_NAMES} == {}
    assert SHARED_NAMES.keys() <= shared.keys()


def test_no_docstring_sends_its_reader_elsewhere() -> None:
    for path in FILES:
        assert "See the base class" not in path.read_text(), path


def test_a_method_that_overrides_says_so() -> None:
    """By the type checker, which asks for `@override`."""
    project = (ROOT / "pyproject.toml").read_text()
    checked = re.search(r'module = "dpnb\.\*"\nenable_error_code = \[(.*)\]', project)
    assert checked is not None
    assert '"explicit-override"' in checked.group(1)


def test_every_public_name_is_there() -> None:
    import dpnb

    for name in dpnb.__all__:
        assert getattr(dpnb, name) is not None
    with pytest.raises(AttributeError, match="dpnb has no Nothing"):
        getattr(dpnb, "Nothing")  # noqa: B009 - type checkers know that it is not there


def test_type_checkers_know_the_same_names() -> None:
    from dpnb.names import HOMES

    nodes = ast.parse((PACKAGE / "__init__.pyi").read_text()).body
    typed = {
        alias.asname: node.module
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert typed == {**HOMES}
