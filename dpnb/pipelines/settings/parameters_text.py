"""Settings as the text that AUTOMATIC1111 writes into pictures, which many programs read.

The prompt, a line `Negative prompt: …` where there is one, and a line of `name: value` pairs:

    a red apple
    Negative prompt: blue
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from dpnb.pipelines.settings.picture_settings import PictureSettings
from dpnb.pipelines.settings.samplers import find_sampler, name_sampler

NEGATIVE = "Negative prompt:"

FEWEST = 3
"""Pairs that a line has which is not of the prompt."""

MOST_DIGITS = 20

NAME = re.compile(r"\w[\w \-/]+$")

LONGEST_NAME = 100


def write_parameters(settings: PictureSettings) -> str:
    """The text of settings; what it has no name for is left out."""
    pairs = ", ".join(f"{name}: {_quote(value)}" for name, value in _pairs(settings))
    negative = f"\n{NEGATIVE} {settings.negative_prompt}" if settings.negative_prompt else ""
    return f"{settings.prompt}{negative}\n{pairs}".strip()


def parse_parameters(text: str) -> PictureSettings:
    """The settings that a text describes, as AUTOMATIC1111 and those who write like it mean them.

    A sampler that is not known here is kept by its name, and so is every further pair.
    """
    lines = text.replace("\r\n", "\n").strip().split("\n")
    place = _find_pairs(lines)
    words = lines if place is None else lines[:place]
    split = next((i for i, one in enumerate(words) if one.strip().startswith(NEGATIVE)), len(words))
    negative = "\n".join(words[split:]).strip().removeprefix(NEGATIVE)
    pairs = {} if place is None else dict(_read_pairs(lines[place]))
    return _from_pairs("\n".join(words[:split]).strip(), negative.strip(), pairs)


def has_pairs(text: str) -> bool:
    """Whether a text has a line of settings."""
    return _find_pairs(text.replace("\r\n", "\n").strip().split("\n")) is not None


def _pairs(settings: PictureSettings) -> Iterator[tuple[str, str]]:
    """The pairs of the last line, in AUTOMATIC1111's order."""
    sampler, schedule = settings.sampler, ""
    if settings.scheduler is not None:
        sampler, schedule = name_sampler(settings.scheduler, settings.scheduler_settings)
    size = (
        f"{settings.width}x{settings.height}"
        if settings.width is not None and settings.height is not None
        else ""
    )
    clip_skip = settings.more.get("clip_skip")
    known = {
        "Steps": _write_number(settings.steps),
        "Sampler": sampler,
        "Schedule type": schedule,
        "CFG scale": _write_number(settings.guidance_scale),
        "Seed": _write_number(settings.seed),
        "Size": size,
        "Model hash": settings.model_hash or "",
        "Model": settings.model or "",
        "Denoising strength": _write_number(settings.strength),
        "Clip skip": str(clip_skip + 1) if isinstance(clip_skip, int) else "",
    }
    remarks = {
        name: value for name, value in settings.remarks if _is_name(name) and name != "Version"
    }
    said = {name: value for name, value in known.items() if value}
    yield from {**said, **{n: v for n, v in remarks.items() if v and n not in said}}.items()
    if settings.version:
        yield "Version", settings.version


def _write_number(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else repr(value)


def _is_name(name: str) -> bool:
    return NAME.fullmatch(name) is not None and name == name.strip()


def _quote(value: str) -> str:
    """`value`, in quotation marks where it would not be read as a whole."""
    is_plain = not any(mark in value for mark in ",:\n") and value == value.strip()
    return (
        value if is_plain and not value.startswith('"') else json.dumps(value, ensure_ascii=False)
    )


def _find_pairs(lines: list[str]) -> int | None:
    """Which line holds the pairs: the last one, or the last that begins as one."""
    if len(dict(_read_pairs(lines[-1]))) >= FEWEST:
        return len(lines) - 1
    places = (i for i in reversed(range(len(lines))) if lines[i].startswith("Steps:"))
    return next((i for i in places if len(dict(_read_pairs(lines[i]))) >= FEWEST), None)


def _read_pairs(line: str) -> Iterator[tuple[str, str]]:
    """The pairs of a line, each value ended by a comma outside of quotation marks."""
    start = 0
    while (colon := line.find(":", start)) >= 0:
        before = line[max(start, colon - LONGEST_NAME) : colon].rpartition(",")[2].strip()
        name, start = NAME.search(before), colon + 1
        if name is not None:
            value, start = _read_value(line, start)
            yield name.group(), value


def _read_value(line: str, start: int) -> tuple[str, int]:
    """The value that begins at `start`, and where the next pair does."""
    begin = _skip_spaces(line, start)
    close = _find_quotation_end(line, begin + 1) if line.startswith('"', begin) else -1
    if close > begin + 1:
        end = _skip_spaces(line, close + 1)
        if end == len(line) or line[end] == ",":
            return _unquote(line[begin : close + 1]), end + 1
    end = line.find(",", start)
    end = len(line) if end < 0 else end
    return line[start:end].strip(), end + 1


def _skip_spaces(line: str, place: int) -> int:
    while line.startswith(" ", place):
        place += 1
    return place


def _find_quotation_end(line: str, start: int) -> int:
    """Where the next quotation mark is that no backslash stands before; -1 where there is none."""
    place = start
    while place < len(line) and line[place] != '"':
        place += 2 if line[place] == "\\" else 1
    return place if place < len(line) else -1


def _unquote(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def _from_pairs(prompt: str, negative: str, pairs: dict[str, str]) -> PictureSettings:
    """Settings of the pairs; what cannot be read as what it should be stays a remark."""
    values: dict[str, Any] = {}
    for name, (target, read) in _READERS.items():
        if name in pairs and (value := read(pairs[name])) is not None:
            values[target] = value
            del pairs[name]
    width, height = values.pop("size", (None, None))
    distilled = values.pop("distilled", None)
    if distilled is not None and values.get("guidance_scale", 1) == 1:
        values["guidance_scale"] = distilled
    skipped = values.pop("clip_skip", 1)
    more = {"clip_skip": skipped - 1} if skipped > 1 else {}
    sampler, schedule = pairs.pop("Sampler", ""), pairs.pop("Schedule type", "")
    scheduler, settings = find_sampler(sampler, schedule)
    return PictureSettings(
        prompt,
        negative,
        **values,
        width=width,
        height=height,
        scheduler=scheduler,
        scheduler_settings=settings,
        sampler="" if scheduler else " ".join([sampler, schedule]).strip(),
        more=more,
        remarks=tuple(pairs.items()),
    )


def read_whole_number(text: str) -> int | None:
    """The whole number that a text is; `None` where it is none, or one of more than 64 bits."""
    is_number = len(text) <= MOST_DIGITS and re.fullmatch(r"-?[0-9]+", text) is not None
    return int(text) if is_number and -(2**63) <= int(text) < 2**64 else None


def read_finite_number(text: str) -> float | None:
    """The finite number that a text is; `None` where it is none."""
    try:
        value = float(text) if len(text) <= LONGEST_NAME else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= 2.0**63 else None


def _read_size(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
    return (int(match.group(1)), int(match.group(2))) if match else None


_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Steps": ("steps", read_whole_number),
    "CFG scale": ("guidance_scale", read_finite_number),
    "Distilled CFG Scale": ("distilled", read_finite_number),
    "Seed": ("seed", read_whole_number),
    "Size": ("size", _read_size),
    "Model hash": ("model_hash", str),
    "Model": ("model", str),
    "Denoising strength": ("strength", read_finite_number),
    "Clip skip": ("clip_skip", read_whole_number),
    "Version": ("version", str),
}
"""What a name of a pair stands for, and how its value is read."""
