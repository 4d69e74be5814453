"""What the code of a pipeline asks of its components, read from its source."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from torch import nn

SHARED_MODULES = (".pipeline_utils", ".configuration_utils", ".loaders.")
"""Parts of the names of modules that hold what all pipelines of diffusers have in common."""


@dataclass(frozen=True)
class Demands:
    """What a pipeline's own code asks of one of its components.

    Attributes:
        attributes: that it reads.
        keywords: that it gives in calls.
    """

    attributes: frozenset[str]
    keywords: frozenset[str]

    def are_met_by(self, network: nn.Module, part: nn.Module) -> bool:
        """Whether a network has all of it that the component `part` itself has."""
        own = vars(part)
        present = {name for name in self.attributes if name in dir(part)}
        wanted = {name for name in present if own.get(name, part) is not None}
        known = {*dir(network), *vars(network).get("config", {})}
        taken = inspect.signature(type(network).forward).parameters
        return wanted <= known and self.keywords <= taken.keys()


@cache
def demands_on(kind: type, component: str) -> Demands:
    """What the code of a class of pipelines asks of `self.component`."""
    attributes: set[str] = set()
    keywords: set[str] = set()
    for base, tree in _own_code(kind):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _is_component(node.value, component):
                attributes.add(node.attr)
            elif isinstance(node, ast.Call) and _is_component(node.func, component):
                keywords |= {word.arg for word in node.keywords if word.arg is not None}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                attributes |= _attributes_in_call(node, node.func.id, base, component)
    return Demands(frozenset(attributes), frozenset(keywords))


def _attributes_in_call(call: ast.Call, name: str, base: type, component: str) -> set[str]:
    """What a function of the module of `base` reads of the component that it is given."""
    function = vars(sys.modules[base.__module__]).get(name)
    places = [place for place, given in enumerate(call.args) if _is_component(given, component)]
    if not places or not inspect.isfunction(function):
        return set()
    parameters = list(inspect.signature(function).parameters)
    named = {parameters[place] for place in places if place < len(parameters)}
    return {
        node.attr
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in named
    }


def _is_component(node: ast.expr, component: str) -> bool:
    """Whether an expression is `self.component`."""
    if not isinstance(node, ast.Attribute) or node.attr != component:
        return False
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def _own_code(kind: type) -> Iterator[tuple[type, ast.Module]]:
    """A class and those that it is derived from, with their source, but for what all have."""
    for base in kind.__mro__:
        if base is object or any(part in f"{base.__module__}." for part in SHARED_MODULES):
            continue
        try:
            yield base, ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            continue  # it was written at a prompt
