"""No two modules need one another; and who does so in annotations alone is listed."""

from __future__ import annotations

from collections.abc import Iterator

from tests.source import MODULES, imported_modules

CIRCLES_OF_TYPES: list[set[str]] = [
    {"bench.figures", "bench.report"},
    {"metering.tables", "metering.trace"},
    {"nn.attention", "nn.projections"},
    {"pipelines.arguments", "pipelines.batches"},
    {
        "pipelines.finite",
        "pipelines.pipeline",
        "pipelines.placement_record",
        "pipelines.relief",
        "pipelines.storage.origin",
        "pipelines.storage.persistence",
        "pipelines.text_to_image",
        "pipelines.watching",
    },
    {"strategies.attachment", "strategies.shared", "strategies.stack"},
    {"widgets.remedy", "widgets.run_monitor", "widgets.session"},
]
"""Modules that name one another's classes in annotations, and import them under `TYPE_CHECKING`."""


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


def test_no_imports_go_in_a_circle() -> None:
    assert circles(with_types=False) == []


def test_annotations_go_in_no_circle_but_those_listed() -> None:
    found = circles(with_types=True)
    assert [circle for circle in found if circle not in CIRCLES_OF_TYPES] == []
    assert [circle for circle in CIRCLES_OF_TYPES if circle not in found] == [], "is no more"
