"""Which networks a pipeline's own code shows everything twice, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, cast

from torch import nn

from dpnb.pipelines.attached.demands import own_code
from dpnb.pipelines.attached.parts import find_parts

WITHOUT = ("uncond", "neg")
"""Parts of the names by which code knows what a network says without the prompt."""

IS_GUIDED = "do_classifier_free_guidance"
"""The property by which a pipeline says that it shows everything twice now."""


class GuidedCalls:
    """An attached pipeline, as guidance by its prompt sees it."""

    pipe: Any
    _kind: type

    def doubled_networks(self) -> Iterator[nn.Module]:
        """The networks that its code shows every latent twice in one call, first without words."""
        names = find_doubled(cast(Hashable, self._kind)) if IS_GUIDED in dir(self._kind) else ()
        parts = find_parts(self.pipe)
        return (parts[name] for name in names if isinstance(parts.get(name), nn.Module))

    def is_guided(self) -> bool:
        """Whether it does so in the present run."""
        return bool(self.pipe.do_classifier_free_guidance)


@cache
def find_doubled(kind: type) -> frozenset[str]:
    """The components that a class of pipelines calls with both halves, the unguided one first.

    Such a call is told by what becomes of the answer: it is parted in two, whose first half has a
    name like `noise_pred_uncond`. Where code parts an answer in three as well, or perturbs
    attention, it depends on the run what comes first, and no component is found.
    """
    for _, tree in own_code(kind):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == "__call__":
                return frozenset(_list_doubled(node))
    return frozenset()


def _list_doubled(function: ast.FunctionDef) -> Iterator[str]:
    assigned = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
    parted = [(node, count) for node in assigned if (count := _count_parts(node.value))]
    is_doubled = any(_begins_without(node) for node, _ in parted)
    is_tripled = any(count != 2 for _, count in parted) or "_perturbed_" in ast.unparse(function)
    if not is_doubled or is_tripled:
        return
    answers = {_name_of(node.value.func.value) for node, _ in parted}  # type: ignore[attr-defined]
    for node in assigned:
        if answers & set(_targets(node)):
            yield from _components_called(node.value)


def _count_parts(value: ast.expr) -> int:
    """Into how many parts an expression divides a batch; 0 where it does not."""
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute):
        return 0
    count = value.args[0] if value.args else None
    is_batch = value.func.attr == "chunk" and not value.keywords and len(value.args) == 1
    known = is_batch and isinstance(count, ast.Constant) and isinstance(count.value, int)
    return count.value if known else 0  # type: ignore[union-attr]


def _begins_without(node: ast.Assign) -> bool:
    first = next(iter(_targets(node)), "")
    return any(part in first for part in WITHOUT)


def _targets(node: ast.Assign) -> list[str]:
    """The names that an assignment fills, in order."""
    target = node.targets[0]
    elements = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
    return [_name_of(element) for element in elements]


def _name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _components_called(value: ast.expr) -> Iterator[str]:
    """The components that an expression calls, as `self.unet(...)`."""
    for node in ast.walk(value):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and _name_of(called.value) == "self":
            yield called.attr
