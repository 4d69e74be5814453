"""Bytes and seconds as text, and text as bytes and sizes: where numbers are read and formatted."""

import re

from dpnb.numbers import to_builtin

_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti")
_FACTORS = {
    "": 1,
    **{f"{prefix}i": 1024**power for power, prefix in enumerate("KMGT", start=1)},
    **{prefix: 1000**power for power, prefix in enumerate("KMGT", start=1)},
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*", re.IGNORECASE)


def format_bytes(count: int) -> str:
    """`count` bytes in the largest binary unit that leaves at least one: `"1.50 GiB"`."""
    value, prefix = float(count), _PREFIXES[0]
    for prefix in _PREFIXES:
        if abs(value) < 1024 or prefix == _PREFIXES[-1]:
            break
        value /= 1024
    return f"{count} B" if not prefix else f"{value:.{_decimals(value)}f} {prefix}B"


def format_seconds(seconds: float) -> str:
    """A duration in the unit a person would use: `"340 ms"`, `"2.1 s"`, `"3 min 05 s"`."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.{1 if seconds < 0.01 else 0}f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def parse_bytes(size: int | str) -> int:
    """A size such as `"6GiB"`, `"500 MB"` or a plain number, in bytes.

    Raises:
        ValueError: `size` is not a non-negative number with one of these units.
    """
    size = to_builtin(size)
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        raise ValueError(
            f"{size!r} is not a size; write a number of bytes, or one with a unit such as "
            '"6GiB", "500MiB" or "2GB".'
        )
    number, unit = match.group(1), (match.group(2) or "").upper().replace("I", "i")
    return int(float(number) * _FACTORS[unit])


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


def _decimals(value: float) -> int:
    return 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
