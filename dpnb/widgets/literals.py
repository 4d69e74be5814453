"""Values that can be written down as Python, and read again."""

from __future__ import annotations

import ast
from typing import Any

from torch import Tensor


def is_literal(value: Any) -> bool:
    """Whether a value is what its `repr` says, for whoever reads it as Python."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, RuntimeError):
        return False


def describe_value(value: Any) -> str:
    """A value in a few words: as Python where it is short, else what it is."""
    if isinstance(value, Tensor):
        sizes = " × ".join(str(size) for size in value.shape) or "1 number"
        return f"numbers, {sizes}"
    if is_literal(value) and len(repr(value)) <= 60:
        return repr(value)
    if isinstance(value, (list, tuple, dict)):
        inner = {type(one).__name__ for one in value}
        return f"{len(value)} × {inner.pop()}" if len(inner) == 1 else f"{len(value)} entries"
    return type(value).__name__


def parse_literal(word: str) -> Any:
    """What `word` is as Python, such as a number; a word that is none stays text."""
    try:
        return ast.literal_eval(word)
    except (SyntaxError, ValueError):
        return word
