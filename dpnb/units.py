"""Bytes and seconds as text, and text as bytes and sizes: where numbers are read and formatted."""

import re
from typing import Any

from dpnb.numbers import to_builtin

_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti")
_FACTORS = {
    "": 1,
    **{f"{prefix}i": 1024**power for power, prefix in enumerate("KMGT", start=1)},
    **{prefix: 1000**power for power, prefix in enumerate("KMGT", start=1)},
}
MOST = 1 << 63
"""Bytes: more than any machine has."""

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*", re.IGNORECASE)


def format_bytes(count: int) -> str:
    """`count` bytes in the largest binary unit that leaves at least one: `"1.50 GiB"`."""
    value, prefix = float(count), _PREFIXES[0]
    for prefix in _PREFIXES:
        if round(abs(value)) < 1024 or prefix == _PREFIXES[-1]:
            break
        value /= 1024
    return f"{count} B" if not prefix else f"{value:.{_decimals(value)}f} {prefix}B"


def format_seconds(seconds: float) -> str:
    """A duration in the unit a person would use: `"340 ms"`, `"2.1 s"`, `"3 min 05 s"`."""
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.{1 if seconds < 0.00995 else 0}f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def parse_bytes(size: int | float | str) -> int:
    """A size such as `"6GiB"`, `"500 MB"` or a plain whole number, in bytes.

    Raises:
        ValueError: `size` is not a non-negative number with one of these units, or beyond reason.
    """
    count = _count_bytes(to_builtin(size))
    if count is None or not 0 <= count <= MOST:
        raise ValueError(
            f"{size!r} is not a size; write a number of bytes, or one with a unit such as "
            '"6GiB", "500MiB" or "2GB".'
        )
    return count


def round_down(count: int) -> str:
    """At most `count` bytes, as short text that `parse_bytes` reads: `"2.8GiB"`, `"512MiB"`."""
    if count >= 1024**3:
        return f"{count * 10 // 1024**3 / 10:g}GiB"
    return f"{count // 1024**2}MiB"


def parse_size(size: int | str | None) -> tuple[int | None, int | None]:
    """Width and height of `"1024"` or `"768x512"`, in pixels; `None` is the model's own size.

    Raises:
        ValueError: it is neither.
    """
    if size is None:
        return None, None
    numbers = str(to_builtin(size)).lower().replace("×", "x").split("x")
    if len(numbers) > 2 or not all(number.strip().isdecimal() for number in numbers):
        raise ValueError(f'{size!r} is not a size; write for example "1024" or "768x512".')
    width, height = int(numbers[0]), int(numbers[-1])
    if not (width and height):
        raise ValueError(f'{size!r} is not a size; each side has pixels, as in "768x512".')
    return width, height


def _count_bytes(size: Any) -> int | None:
    """A size in bytes; `None` where it is none."""
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if match is None:
            return None
        size = float(match[1]) * _FACTORS[(match[2] or "").upper().replace("I", "i")]
        return int(min(size, 2.0 * MOST))
    is_number = isinstance(size, (int, float)) and not isinstance(size, bool)
    return int(size) if is_number and 0 <= size <= MOST and size == int(size) else None


def _decimals(value: float) -> int:
    return 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
