"""JSON and text, broken: values, structure, and bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, -1, 7, 64, 1000, 2**31, 10**9, 2**63, 10**40, 0.5, -0.5, 1.0,
    1e-300, 1e9, 1e30, -1e30, 1e308, float("nan"), float("inf"), "", "x", "1", "None", "1e30",
    "a" * 5000, "\ud800", "\x00", "../../x", "/etc/passwd", "__class__", "(a+)+$", [], [1], [0, 0],
    [None], ["x"], [[1]], [1e30], [10**9] * 4, ["a"] * 300, [True, False], {}, {"a": 1},
    {"": None}, {"x": {"y": []}},
)  # fmt: skip

KEYS: tuple[str, ...] = (
    "_use_default_values", "_ignore_files", "_class_name", "_diffusers_version",
    "quantization_config", "__init__", "extra", "given", "auto_map", "torch_dtype", "dtype",
    "architectures", "config",
    "sample_size", "model_max_length", "use_karras_sigmas", "trained_betas", "device", "", "a b",
)  # fmt: skip

DEEP, LONG = 100_000, 5_000


def mutated(text: bytes, chance: random.Random) -> tuple[str, bytes]:
    """`text`, JSON or lines of it, broken in one way, and the name of that way."""
    of_values = (_replaced, _replaced, _replaced, _replaced, _added, _removed, _resized)
    of_bytes = (_cut, _flipped, _inserted, _deep, _long, _encoded, _whole)
    change: Callable[[bytes, random.Random], bytes]
    if chance.random() < 0.7:
        change = chance.choice(of_values)
        try:
            return change.__name__.strip("_"), change(text, chance)
        except ValueError:
            pass
    change = chance.choice(of_bytes)
    return change.__name__.strip("_"), change(text, chance)


def _with_values(text: bytes, change: Callable[[Any], None]) -> bytes:
    holder = [json.loads(text)]
    change(holder)
    return json.dumps(holder[0], indent=1).encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container below `value` with each of its keys."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in items:
        found.append((value, key))
        if isinstance(item, dict | list):
            found += _places(item)
    return found


def _replaced(text: bytes, chance: random.Random) -> bytes:
    def change(holder: list[Any]) -> None:
        container, key = chance.choice(_places(holder)[1:] or [(holder, 0)])
        container[key] = chance.choice(VALUES)

    return _with_values(text, change)


def _added(text: bytes, chance: random.Random) -> bytes:
    def change(holder: list[Any]) -> None:
        tables = [c[k] for c, k in _places(holder) if isinstance(c[k], dict)]
        if tables:
            chance.choice(tables)[chance.choice(KEYS)] = chance.choice(VALUES)

    return _with_values(text, change)


def _removed(text: bytes, chance: random.Random) -> bytes:
    def change(holder: list[Any]) -> None:
        places = _places(holder)[1:]
        if places:
            container, key = chance.choice(places)
            del container[key]

    return _with_values(text, change)


def _resized(text: bytes, chance: random.Random) -> bytes:
    def change(holder: list[Any]) -> None:
        lists = [c[k] for c, k in _places(holder) if isinstance(c[k], list)]
        if lists:
            chosen = chance.choice(lists)
            if chance.random() < 0.5:
                chosen.extend(list(chosen))
            else:
                del chosen[chance.randrange(len(chosen) + 1) :]

    return _with_values(text, change)


def _cut(text: bytes, chance: random.Random) -> bytes:
    return text[: chance.randrange(len(text) + 1)]


def _flipped(text: bytes, chance: random.Random) -> bytes:
    changed = bytearray(text)
    for _ in range(chance.choice((1, 1, 1, 5, 50))):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _inserted(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice((b"\xff\xfe", b"\x00" * 9, b"{", b"]", b'"')) + text[at:]


def _deep(text: bytes, chance: random.Random) -> bytes:
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    depth = chance.choice((DEEP, 2_000))
    nest = opening * depth + b"1" + closing * depth
    return chance.choice((nest, opening * depth, _instead(text, nest, chance)))


def _long(text: bytes, chance: random.Random) -> bytes:
    return _instead(text, chance.choice((b"1", b"-9", b"1.", b"1e")) + b"7" * LONG, chance)


def _instead(text: bytes, value: bytes, chance: random.Random) -> bytes:
    """`value` in place of that of one key."""
    colons = [at for at, byte in enumerate(text) if byte == ord(":")]
    if not colons:
        return value
    at = chance.choice(colons) + 1
    ends = [end for mark in (b",", b"\n", b"}") if (end := text.find(mark, at)) > 0]
    return text[:at] + value + text[min(ends, default=len(text)) :]


def _encoded(text: bytes, chance: random.Random) -> bytes:
    plain = text.decode("utf-8", "replace")
    return plain.encode(chance.choice(("utf-8-sig", "utf-16", "utf-32", "utf-16-be")))


def _whole(text: bytes, chance: random.Random) -> bytes:
    others = (b"", b"null", b"[]", b"{}", b"5", b'"x"', b"NaN", b"\x00" * 100, b"version https://")
    return chance.choice((*others, text * 2))
