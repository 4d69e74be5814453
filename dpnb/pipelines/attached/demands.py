"""What the code of a pipeline asks of its components, read from its source."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from torch import nn

from dpnb.strategies.offload.source_paths import SourcePath, find_paths, read_source

SHARED_MODULES = (".pipeline_utils", ".configuration_utils", ".loaders.")
"""Parts of the names of modules that hold what all pipelines of diffusers have in common."""

NAMED_ALONE = frozenset(
    {
        "active_adapters",
        "add_adapter",
        "attn_processors",
        "delete_adapters",
        "disable_adapters",
        "enable_adapters",
        "enable_cache",
        "load_lora_adapter",
        "save_lora_adapter",
        "set_adapter",
        "set_attn_processor",
        "set_default_attn_processor",
    }
)
"""What networks here have for scripts alone: it does less than what other packages' have."""


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
        known = {*dir(network), *vars(network).get("config", {})} - NAMED_ALONE
        taken = inspect.signature(type(network).forward).parameters
        return wanted <= known and self.keywords <= taken.keys()


@cache
def demands_on(kind: type, component: str) -> Demands:
    """What the code of a class of pipelines asks of `self.component`."""
    attributes: set[str] = set()
    keywords: set[str] = set()
    for base, tree in own_code(kind):
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
    source = read_source(function)
    return {
        node.attr
        for node in (() if source is None else ast.walk(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in named
    }


@cache
def takes_gradients(kind: type) -> bool:
    """Whether a call of a class of pipelines computes gradients, as far as its own code says."""
    functions: dict[str, ast.FunctionDef] = {}
    for _, tree in own_code(kind):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                functions.setdefault(node.name, node)
    reached: set[str] = set()
    waiting = ["__call__"]
    while waiting:
        name = waiting.pop()
        if name in functions and name not in reached:
            reached.add(name)
            waiting += _methods_used_by(functions[name])
    return any(_asks_for_gradients(functions[name]) for name in reached)


def _methods_used_by(function: ast.FunctionDef) -> list[str]:
    attributes = (node for node in ast.walk(function) if isinstance(node, ast.Attribute))
    return [node.attr for node in attributes if _is_self(node.value)]


def _asks_for_gradients(function: ast.FunctionDef) -> bool:
    called = [ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
    return any(name.endswith((".backward", "autograd.grad")) for name in called)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _is_component(node: ast.expr, component: str) -> bool:
    """Whether an expression is `self.component`."""
    if not isinstance(node, ast.Attribute) or node.attr != component:
        return False
    return _is_self(node.value)


@cache
def paths_behind(kind: type, component: str) -> frozenset[SourcePath]:
    """What the code of a class of pipelines follows from `self.component` on."""
    bases = _own_classes(kind)
    paths = (path for base in bases for path in find_paths(base))
    return frozenset(inner for path in paths for inner in path.behind(component))


def _own_classes(kind: type) -> Iterator[type]:
    """A class and those that it is derived from, but for what all have."""
    for base in kind.__mro__:
        if base is not object and not any(p in f"{base.__module__}." for p in SHARED_MODULES):
            yield base


def own_code(kind: type) -> Iterator[tuple[type, ast.Module]]:
    """These classes with their source, where it is there."""
    pairs = ((base, read_source(base)) for base in _own_classes(kind))
    return ((base, tree) for base, tree in pairs if tree is not None)
