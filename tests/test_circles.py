"""No two modules need one another, not even in annotations alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.source import MODULES, imported_modules


def circles(with_types: bool) -> list[set[str]]:
    """The modules that reach one another by imports, those within functions among them."""
    graph = {
        name: imported_modules(path, with_types) - {name, "dpnb"} for name, path in MODULES.items()
    }
    reach = {name: set(reachable(graph, name)) for name in graph}
    found = {
        frozenset(other for other in reach[name] if name in reach[other])
        for name in graph
        if name in reach[name]
    }
    return [{name.removeprefix("dpnb.") for name in circle} for circle in sorted(found, key=sorted)]


def reachable(graph: dict[str, set[str]], start: str) -> Iterator[str]:
    """Every module that `start` imports, or that one of these imports, and so on."""
    waiting, seen = [start], set[str]()
    while waiting:
        for name in graph[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
            yield name


@pytest.mark.parametrize("with_types", [False, True])
def test_no_imports_go_in_a_circle(with_types: bool) -> None:
    """Those within functions are counted, and once also those that only annotations need."""
    assert circles(with_types) == []
