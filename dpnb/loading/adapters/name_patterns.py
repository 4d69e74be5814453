"""Regular expressions from files, matched in time that grows no faster than the text.

A backtracking engine can be made to run for ages by an expression of twenty letters. Here a set of
places moves through the text instead (K. Thompson, "Regular Expression Search Algorithm", 1968),
and what needs more than that, such as a look-ahead, is refused.
"""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from typing_extensions import override

LONGEST = 200
"""Characters of an expression, or of a name that one is tried on; names have some hundred."""

_DEEPEST = 3
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_CLASSES = {"d": frozenset(string.digits), "w": _WORD}
_SPECIAL = set("()[]{}|*+?^$\\")


class PatternError(ValueError):
    """An expression that is not understood; the message says which part."""


class _Item(ABC):
    @abstractmethod
    def ends(self, text: str, starts: frozenset[int]) -> frozenset[int]:
        """The places where a match ends that begins at one of `starts`."""


@dataclass(frozen=True)
class _Character(_Item):
    allowed: frozenset[str] | None
    """`None` for any."""

    @override
    def ends(self, text: str, starts: frozenset[int]) -> frozenset[int]:
        known = self.allowed
        inside = (place for place in starts if place < len(text))
        return frozenset(p + 1 for p in inside if known is None or text[p] in known)


@dataclass(frozen=True)
class _Choice(_Item):
    sequences: tuple[tuple[_Item, ...], ...]

    @override
    def ends(self, text: str, starts: frozenset[int]) -> frozenset[int]:
        found: frozenset[int] = frozenset()
        for sequence in self.sequences:
            places = starts
            for item in sequence:
                places = item.ends(text, places)
            found |= places
        return found


@dataclass(frozen=True)
class _Repeated(_Item):
    item: _Item
    mark: str
    """`?`, `*` or `+`."""

    @override
    def ends(self, text: str, starts: frozenset[int]) -> frozenset[int]:
        found = frozenset() if self.mark == "+" else starts
        places = starts
        while new := self.item.ends(text, places) - found:
            found |= new
            places = new
            if self.mark == "?":
                break
        return found


@dataclass(frozen=True)
class NamePattern:
    r"""An expression that matches a layer's name, or the end of one after a dot, as peft means it.

    Args:
        expression: letters, `.`, `\d`, `\w`, `[...]`, groups, `|`, `?`, `*`, `+`; `^` at the
            beginning asks for the whole name.

    Raises:
        PatternError: it has more than that.
    """

    expression: str

    def __post_init__(self) -> None:
        choice = None if self.is_plain else _Parser(self._body).parse()
        if choice is not None and self.expression.startswith("^") and len(choice.sequences) > 1:
            raise PatternError("'^' before '|'")
        object.__setattr__(self, "_choice", choice)

    @property
    def is_plain(self) -> bool:
        """Whether it is letters and dots alone."""
        return not _SPECIAL & set(self._body)

    @property
    def _body(self) -> str:
        return self.expression.removeprefix("^").removesuffix("$")

    def matches(self, name: str) -> bool:
        """Whether the name or its end is what the expression asks for."""
        is_whole = self.expression.startswith("^")
        if self.is_plain:
            rest = len(name) - len(self._body)
            is_end = rest == 0 or (rest > 0 and name[rest - 1] == "." and not is_whole)
            pairs = zip(self._body, name[max(rest, 0) :], strict=False)
            return is_end and all(one in (".", other) for one, other in pairs)
        if len(name) > LONGEST:
            return False
        after_dots = (place + 1 for place, letter in enumerate(name) if letter == ".")
        starts = frozenset([0]) if is_whole else frozenset([0, *after_dots])
        choice: _Choice = vars(self)["_choice"]
        return len(name) in choice.ends(name, starts)


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise PatternError(f"it has {len(text)} characters")
        self._text, self._place, self._depth = text, 0, 0

    def parse(self) -> _Choice:
        choice = self._choice()
        if self._next():
            raise PatternError(f"{self._next()!r} at character {self._place + 1}")
        return choice

    def _next(self) -> str:
        return self._text[self._place : self._place + 1]

    def _take(self) -> str:
        self._place += 1
        return self._text[self._place - 1 : self._place]

    def _choice(self) -> _Choice:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise PatternError("its groups are nested too deeply")
        sequences = [tuple(self._sequence())]
        while self._next() == "|":
            self._take()
            sequences.append(tuple(self._sequence()))
        self._depth -= 1
        return _Choice(tuple(sequences))

    def _sequence(self) -> Iterator[_Item]:
        while self._next() and self._next() not in "|)":
            item = self._item()
            if self._next() and self._next() in "?*+":
                item = _Repeated(item, self._take())
            yield item

    def _item(self) -> _Item:
        letter = self._take()
        if letter == "(":
            return self._group()
        if letter == "[":
            return self._set()
        if letter == "\\":
            return self._escaped()
        if letter in _SPECIAL:
            raise PatternError(f"{letter!r} at character {self._place}")
        return _Character(None if letter == "." else frozenset(letter))

    def _group(self) -> _Choice:
        if self._text.startswith("?:", self._place):
            self._place += 2
        choice = self._choice()
        if self._take() != ")":
            raise PatternError("a group is not closed")
        return choice

    def _escaped(self) -> _Character:
        letter = self._take()
        if letter in _CLASSES:
            return _Character(_CLASSES[letter])
        if not letter or letter.isalnum():
            raise PatternError(f"'\\{letter}' at character {self._place - 1}")
        return _Character(frozenset(letter))

    def _set(self) -> _Character:
        inside, closed, _ = self._text[self._place :].partition("]")
        if not closed or not inside.isascii() or not inside or set(inside) & {"^", "\\", "["}:
            raise PatternError(f"'[' at character {self._place}")
        self._place += len(inside) + 1
        allowed, rest = set(), inside
        while rest:
            if len(rest) > 2 and rest[1] == "-":
                allowed |= {chr(code) for code in range(ord(rest[0]), ord(rest[2]) + 1)}
                rest = rest[3:]
            else:
                allowed.add(rest[0])
                rest = rest[1:]
        return _Character(frozenset(allowed))
