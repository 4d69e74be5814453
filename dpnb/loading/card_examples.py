"""The calls of pipelines that a model card shows, read from its code without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dpnb.loading.card_code import parse_code

LOADERS = ("from_pretrained", "from_single_file")
MOVES = ("to", "cuda")
ADAPTERS = ("load_lora_weights", "load_lora_adapter")
"""Methods that make a pipeline, that return it, and after which it draws in another way."""

LARGEST = 2**31
"""Numbers of an example are less."""

USUAL_NAMES = ("pipe", "pipeline")
"""What cards call a pipeline, also where they do not show how it was loaded."""


@dataclass(frozen=True)
class CardExample:
    """A call of an object that was loaded, as a card shows it.

    Attributes:
        class_name: with which the object was loaded; `None` where the card does not show that.
        repository: that it was loaded from, likewise.
        arguments: those that are given by name; `None` for what is not written as a number.
        is_adapted: whether the object was given weights of a LoRA before.
    """

    class_name: str | None
    repository: str | None
    arguments: Mapping[str, float | None]
    is_adapted: bool = False


def find_examples(text: str) -> tuple[CardExample, ...]:
    """The calls in the Python code of a card, in its order; a block goes on where the last ended.

    Args:
        text: of the card, in Markdown.
    """
    reader = _Reader()
    for statements in parse_code(text):
        try:
            reader.read(statements)
        except RecursionError:
            continue
    return tuple(reader.examples)


@dataclass(frozen=True)
class _Loaded:
    """A pipeline, or anything else that was loaded."""

    class_name: str
    repository: str | None
    is_adapted: bool = False


@dataclass(frozen=True)
class _Imported:
    """What another package has under this name."""

    name: str


class _Reader:
    """Follows code as far as names stand for what was loaded, and for literals.

    Where the code may go several ways, a name keeps its value if it has the same on all of them.
    """

    def __init__(self) -> None:
        self.examples: list[CardExample] = []
        self._names: dict[str, Any] = {}

    def read(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            header = _header(statement)
            for node in header:
                self._note_calls(node)
            self._bind(statement, header)
            if ways := _ways(statement):
                self._names = _agree([self._follow(way) for way in ways])

    def _follow(self, statements: Iterable[ast.stmt]) -> dict[str, Any]:
        """The names after statements that may be gone through."""
        before, self._names = self._names, {**self._names}
        try:
            self.read(statements)
            return self._names
        finally:
            self._names = before

    def _note_calls(self, node: ast.AST) -> None:
        for call in ast.walk(node):
            if not isinstance(call, ast.Call):
                continue
            called = call.func
            if isinstance(called, ast.Attribute) and called.attr in ADAPTERS:
                self._adapt(called.value)
            found = self._value(called)
            if isinstance(found, _Loaded):
                loaded = (found.class_name, found.repository)
                example = CardExample(*loaded, self._arguments(call), found.is_adapted)
                self.examples.append(example)
            elif isinstance(called, ast.Name) and called.id in USUAL_NAMES and found is None:
                self.examples.append(CardExample(None, None, self._arguments(call)))

    def _adapt(self, node: ast.expr) -> None:
        found = self._value(node)
        if isinstance(node, ast.Name) and isinstance(found, _Loaded):
            self._names[node.id] = replace(found, is_adapted=True)

    def _arguments(self, call: ast.Call) -> dict[str, float | None]:
        given: dict[str, Any] = {}
        for one in call.keywords:
            value = self._value(one.value)
            if one.arg is not None:
                given[one.arg] = value
            elif isinstance(value, dict):
                given |= {name: each for name, each in value.items() if isinstance(name, str)}
        return {name: value if _is_number(value) else None for name, value in given.items()}

    def _bind(self, statement: ast.stmt, header: Iterable[ast.AST]) -> None:
        """Let names stand for what they are assigned, and forget what is not known of others."""
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for one in statement.names:
                self._names[one.asname or one.name] = _Imported(one.name)
            return
        if isinstance(statement, ast.Assign):
            value = self._value(statement.value)
            for target in statement.targets:
                self._assign(target, value)
            return
        for node in (inner for each in header for inner in ast.walk(each)):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                self._names.pop(node.id, None)
            elif isinstance(node, ast.arg):
                self._names.pop(node.arg, None)
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            self._assign(statement.target, self._value(statement.value))

    def _assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self._names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            fits = isinstance(value, tuple) and len(value) == len(target.elts)
            for place, inner in enumerate(target.elts):
                self._assign(inner, value[place] if fits else None)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self._names[target.value.id] = None
        elif isinstance(target, ast.Starred):
            self._assign(target.value, None)

    def _value(self, node: ast.expr | None) -> Any:
        """What an expression stands for; `None` where that is not plain to see."""
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.Name(id=name):
                return self._names.get(name)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                value = self._value(inner)
                return -value if _is_number(value) else None
            case ast.Tuple(elts=items) | ast.List(elts=items):
                return tuple(map(self._value, items))
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return {k.value: self._value(v) for k, v in pairs if isinstance(k, ast.Constant)}
            case ast.Subscript(value=inner, slice=ast.Constant(value=key)):
                return _entry(self._value(inner), key)
            case ast.Call(func=ast.Attribute(value=owner, attr=method)):
                return self._loaded(node, owner, method)
            case ast.Call(func=ast.Name(id="dict"), args=[]):
                return self._arguments(node)
        return None

    def _loaded(self, call: ast.Call, owner: ast.expr, method: str) -> _Loaded | None:
        """What a call of a method returns, where that is what it has loaded or moved."""
        if method in MOVES:
            value = self._value(owner)
            return value if isinstance(value, _Loaded) else None
        name = self._class_name(owner)
        if name is None or method not in (*LOADERS, "from_pipe"):
            return None
        first = self._value(call.args[0]) if call.args else self._first_by_name(call)
        if method == "from_pipe":
            return replace(first, class_name=name) if isinstance(first, _Loaded) else None
        return _Loaded(name, first if isinstance(first, str) else None)

    def _first_by_name(self, call: ast.Call) -> Any:
        names = ("pretrained_model_name_or_path", "pipeline")
        return next((self._value(one.value) for one in call.keywords if one.arg in names), None)

    def _class_name(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Attribute):
            return node.attr
        if not isinstance(node, ast.Name):
            return None
        known = self._names.get(node.id)
        return known.name if isinstance(known, _Imported) else node.id


def _header(statement: ast.stmt) -> list[ast.AST]:
    """What of a statement is no statement itself."""
    inner = (ast.stmt, ast.ExceptHandler, ast.match_case)
    return [node for node in ast.iter_child_nodes(statement) if not isinstance(node, inner)]


def _ways(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The statements in a statement, in each of the ways that the code may go."""
    match statement:
        case ast.With(body=body) | ast.AsyncWith(body=body):
            return [body]
        case ast.If() | ast.For() | ast.AsyncFor() | ast.While():
            return [statement.body, statement.orelse]
        case ast.Try():
            tail = statement.finalbody
            handled = [[*handler.body, *tail] for handler in statement.handlers]
            return [[*statement.body, *statement.orelse, *tail], *handled]
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [statement.body, []]
        case ast.Match():
            return [*(case.body for case in statement.cases), []]
    return []


def _agree(ways: list[dict[str, Any]]) -> dict[str, Any]:
    """The names that have the same value in all ways."""
    first, *others = ways
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def _entry(container: Any, key: Any) -> Any:
    if isinstance(container, dict):
        return container.get(key)
    is_place = isinstance(container, tuple) and isinstance(key, int)
    return container[key] if is_place and -1 < key < len(container) else None


def _is_number(value: Any) -> bool:
    """Whether it is one that can be meant: a bool is, what is infinite is not."""
    return isinstance(value, (int, float)) and abs(value) < LARGEST
