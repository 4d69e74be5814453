"""Many drawings out of a file of prompts, each line of it a JSON object."""

from __future__ import annotations

import codecs
import difflib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category

from dpnb.atomic import write_bytes
from dpnb.errors import FileError
from dpnb.files import MAX_JSON, check_file, decode_json
from dpnb.generators import make_generator
from dpnb.numbers import coerce_numbers
from dpnb.processes import ALONE, Processes
from dpnb.units import parse_size

if TYPE_CHECKING:
    from PIL.Image import Image

    from dpnb.pipelines.text_to_image import TextToImagePipeline
    from dpnb.stages import Step

KEYS = ("prompt", "negative_prompt", "seed", "steps", "guidance", "size", "name")

RECORD = "dpnb"
"""The text of a PNG file that says how its picture was drawn."""

SLUG = 40

MOST_BYTES = 200
"""Of a name; systems take 255, and one that is being written is longer."""


class PromptFileError(ValueError):
    """A line of a file of prompts cannot be drawn; the message names it."""


@dataclass(frozen=True)
class Drawing:
    """One picture to draw.

    Args:
        prompt: what it shows.
        negative_prompt: what it does not show.
        seed: of the noise.
        steps: denoising steps.
        guidance: how strongly the prompt steers.
        width: in pixels; the model's own by default.
        height: likewise.
        name: of its file.
        line: that asks for it, from 1.
    """

    prompt: str = ""
    negative_prompt: str | None = None
    seed: int = 0
    steps: int = 20
    guidance: float = 5.0
    width: int | None = None
    height: int | None = None
    name: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        coerce_numbers(self)

    def arguments(self) -> dict[str, Any]:
        """The arguments of a pipeline's `stream`."""
        from dpnb.generators import make_generator

        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "width": self.width,
            "height": self.height,
            "generator": make_generator(self.seed),
        }

    def record(self, model: str) -> str:
        """How it is drawn, as JSON; what the file's name and place do not change."""
        values = {key: value for key, value in asdict(self).items() if key not in ("name", "line")}
        return json.dumps({"model": model, **values})


def read_prompts(file: Path, defaults: Drawing) -> list[Drawing]:
    """The drawings that a file asks for.

    Args:
        file: one JSON object on each line: `prompt`, and whichever of `KEYS` differ from the
            defaults; empty lines are passed over.
        defaults: of what a line leaves out.

    Raises:
        PromptFileError: a line is no such object, or names a file that another one names too; or
            the file cannot be read, or is no text in UTF-8 or UTF-16.
    """
    drawings: list[Drawing] = []
    lines: dict[str, int] = {}
    for number, text in enumerate(_read_lines(file), start=1):
        if not text.strip():
            continue
        with _name_line(file, number):
            drawing = _parse(text, replace(defaults, line=number))
            other = lines.setdefault(drawing.name.lower(), number)
            if other != number:
                raise ValueError(f"{drawing.name} is drawn by line {other} already; rename one.")
        drawings.append(drawing)
    if not drawings:
        raise PromptFileError(f'{file} holds no prompts; write lines such as {{"prompt": "sun"}}.')
    return drawings


@dataclass(frozen=True)
class DrawResult:
    """What has become of a file of prompts.

    Attributes:
        names: of the pictures that were drawn now.
        kept: how many were there already.
    """

    names: tuple[str, ...]
    kept: int


def draw_prompts(
    pipe: TextToImagePipeline,
    drawings: Sequence[Drawing],
    folder: Path,
    model: str,
    watch: Callable[[Iterator[Step], str], list[Image]],
    processes: Processes = ALONE,
    file: Path | None = None,
) -> DrawResult:
    """Draw what is not there yet, each process its share.

    A picture is complete as soon as its file is there, and holds how it was drawn; one that was
    drawn in another way is drawn anew.

    Args:
        pipe: draws.
        drawings: what.
        folder: where pictures go.
        model: the name under which `pipe` was loaded.
        watch: runs to the end and returns the pictures.
        processes: that share this work.
        file: where the drawings are from, for errors.

    Raises:
        PromptFileError: the pipeline cannot draw one of them; nothing has been drawn then.
    """
    for drawing in drawings:
        with _name_line(file or folder, drawing.line):
            pipe.stream(**drawing.arguments())
    missing = processes.agree(
        lambda: [one for one in drawings if _read_record(folder / one.name) != one.record(model)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for drawing in processes.share(missing):
        image = watch(pipe.stream(**drawing.arguments()), drawing.prompt)[0]
        _save(image, folder / drawing.name, drawing.record(model))
        names.append(drawing.name)
    return DrawResult(tuple(sorted(processes.gather(names))), len(drawings) - len(missing))


def _read_lines(file: Path) -> list[str]:
    """The lines of a file; a character that divides lines elsewhere does not do so in JSON."""
    try:
        if not file.is_file():
            what = "no file, but something else" if file.exists() else "not there"
            what = "a folder" if file.is_dir() else what
            raise PromptFileError(f"{file} is {what}; give a file of prompts, a line for each.")
        check_file(file, MAX_JSON)
        content = file.read_bytes()
    except FileError as error:
        raise PromptFileError(str(error)) from error
    except OSError as error:
        raise PromptFileError(f"{file} cannot be read ({error.strerror}).") from error
    text = _decode(file, content)
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _decode(file: Path, content: bytes) -> str:
    """Text in UTF-8; in UTF-16 or UTF-32 where a byte-order mark says so."""
    marks = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    kinds = ("utf-32", "utf-32", "utf-16", "utf-16")
    pairs = zip(marks, kinds, strict=True)
    kind = next((kind for mark, kind in pairs if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(kind)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PromptFileError(
            f"{file}, line {line}: it is no text in {kind.removesuffix('-sig').upper()} "
            f"({error.reason}); save the file as UTF-8."
        ) from error
    if "\0" in text:
        raise PromptFileError(
            f"{file} holds zero bytes, as UTF-16 without a byte-order mark does; save it as UTF-8."
        )
    return text


def _parse(text: str, defaults: Drawing) -> Drawing:
    try:
        values = decode_json(text)
    except ValueError as error:
        raise ValueError(f"it is no JSON ({error}); write one object on each line.") from error
    if not isinstance(values, dict) or not isinstance(values.get("prompt"), str):
        raise ValueError('it is no object with a "prompt"; write for example {"prompt": "sun"}.')
    for key in values.keys() - set(KEYS):
        near = difflib.get_close_matches(key, KEYS, n=1) or KEYS
        raise ValueError(f"it has no {key!r}; write {' or '.join(near)}.")
    given = {key: value for key, value in values.items() if key not in ("size", "name")}
    if values.get("size") is not None:
        given["width"], given["height"] = parse_size(values["size"])
    drawing = replace(defaults, **given)
    _check(drawing)
    return replace(drawing, name=_file_name(values.get("name"), drawing))


def _check(drawing: Drawing) -> None:
    negative = drawing.negative_prompt
    if negative is not None and not isinstance(negative, str):
        raise ValueError(f"negative_prompt is {negative!r}; give it as text.")
    make_generator(drawing.seed)


def _file_name(name: Any, drawing: Drawing) -> str:
    if name is None:
        words = "".join(c if c.isalnum() else " " for c in drawing.prompt.lower()).split()
        return f"{drawing.line:04d}-{'-'.join(words)[:SLUG].rstrip('-')}.png"
    if not isinstance(name, str) or not _is_plain(name):
        shown = repr(name) if len(repr(name)) <= 80 else f"{repr(name)[:80]}…"
        raise ValueError(f"{shown} is no name of a picture; write for example sun or sun.png.")
    ending = Path(name).suffix
    if ending and ending != ".png":
        raise ValueError(f"{name!r} does not end in .png; pictures are PNG files.")
    return name if ending else f"{name}.png"


def _is_plain(name: str) -> bool:
    """Whether a name is one of a file that every system takes."""
    is_one = Path(name).name == name and "\\" not in name and not name.startswith(".")
    is_text = bool(name.strip()) and not any(category(c) in ("Cc", "Cs") for c in name)
    return is_one and is_text and len(name.encode()) <= MOST_BYTES


@contextmanager
def _name_line(file: Path, number: int) -> Iterator[None]:
    """Within, an error is one of this line."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise PromptFileError(f"{file}, line {number}: {error}") from error


def _read_record(file: Path) -> str | None:
    """How the picture of a complete file was drawn, where it says so."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            record = image.info.get(RECORD)
            image.verify()
    except (OSError, SyntaxError):
        return None
    return record if isinstance(record, str) else None


def _save(image: Image, file: Path, record: str) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(RECORD, record)
    content = io.BytesIO()
    image.save(content, format="PNG", pnginfo=info)
    write_bytes(file, content.getvalue())
