"""Settings inside the files of pictures: written into PNG, read from PNG, JPEG and WebP."""

from __future__ import annotations

import io
import json
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dpnb.atomic import write_bytes
from dpnb.errors import FileError
from dpnb.files import check_file, decode_json
from dpnb.pipelines.settings.foreign_records import read_record
from dpnb.pipelines.settings.parameters_text import has_pairs, parse_parameters, write_parameters
from dpnb.pipelines.settings.picture_settings import PictureSettings, PictureSettingsError

if TYPE_CHECKING:
    from PIL.Image import Image

OWN = "dpnb"
"""The text of a PNG file that holds our JSON."""

PARAMETERS = "parameters"
RECORDS = ("invokeai_metadata", PARAMETERS)
"""The texts in which other programs write JSON."""

EXIF, USER_COMMENT = 0x8769, 0x9286
"""Where AUTOMATIC1111 writes its text into JPEG and WebP."""

MOST_PIXELS = 1 << 26
"""Of a picture that is decoded to reach texts behind its pixels."""

BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, TypeError)
"""What PIL raises over files that are no pictures, or damaged."""


def encode_with_settings(
    picture: Image, settings: PictureSettings | None, *, quick: bool = False
) -> bytes:
    """A PNG file that holds how its picture was drawn.

    It is written twice: as the text `parameters` in AUTOMATIC1111's form, and as JSON in the text
    `dpnb`.

    Args:
        picture: the picture.
        settings: what it was drawn with; `None` writes nothing of it.
        quick: compress it less.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if settings is not None:
        sized = replace(
            settings,
            width=settings.width or picture.width,
            height=settings.height or picture.height,
        )
        info.add_text(PARAMETERS, _to_unicode(write_parameters(sized)))
        own = json.dumps(settings.to_json(), allow_nan=False, ensure_ascii=False)
        info.add_text(OWN, _to_unicode(own))
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=info, compress_level=1 if quick else 6)
    return file.getvalue()


def save_with_settings(path: str | Path, picture: Image, settings: PictureSettings | None) -> None:
    """Write a PNG file that holds how its picture was drawn; see `encode_with_settings`.

    Raises:
        SaveError: the disk is full; a former file stays.
    """
    write_bytes(path, encode_with_settings(picture, settings))


def read_settings(picture: str | Path | bytes | BinaryIO | Image) -> PictureSettings:
    """What a picture was drawn with, as its file says.

    ```python
    settings = dpnb.read_settings("apple.png")
    again = settings.draw(pipe)
    ```

    Args:
        picture: a file or its content, open or not, or a picture that PIL has opened. Our own JSON
            is read, or else what AUTOMATIC1111, Forge, ComfyUI, InvokeAI, SwarmUI and others write
            into PNG, JPEG and WebP.

    Raises:
        PictureSettingsError: it says nothing of it.
        FileError: it is no picture.
    """
    from PIL import Image

    if isinstance(picture, Image.Image):
        with _explain("this picture"):
            return _read(picture, "this picture")
    name, content = _open(picture)
    with _explain(name), Image.open(content) as opened:
        return _read(opened, name)


@contextmanager
def _explain(name: str) -> Iterator[None]:
    """Within, what PIL raises over a damaged file becomes a sentence."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except PictureSettingsError:
            raise
        except (*BROKEN, Image.DecompressionBombError) as error:
            raise FileError(
                f"{name} cannot be read as a picture ({_describe(error)}); give a PNG, JPEG or "
                "WebP file."
            ) from error


def _describe(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    is_none = isinstance(error, UnidentifiedImageError)
    return "it is none" if is_none else str(error).rstrip(".") or type(error).__name__


def _open(picture: Any) -> tuple[str, Any]:
    """What to call it, and what PIL opens."""
    if isinstance(picture, (str, Path)):
        path = Path(picture)
        check_file(path)
        return str(path), path
    content = picture if isinstance(picture, (bytes, bytearray, memoryview)) else _read_all(picture)
    return "this file", io.BytesIO(bytes(content))


def _read_all(file: Any) -> bytes:
    content = file.read() if "read" in dir(file) else None
    if not isinstance(content, bytes):
        raise TypeError(
            f"{type(file).__name__} is no picture; give a path, the bytes of a file, a file "
            "that is open for reading bytes, or a picture of PIL's."
        )
    return content


def _read(picture: Image, name: str) -> PictureSettings:
    """The settings in the texts of a picture, ours first."""
    texts = _list_texts(picture)
    found = _find(texts, picture)
    if found is None and picture.format == "PNG" and _may_be_decoded(picture):
        picture.load()
        late = _list_texts(picture)
        found = _find(late, picture) if late != texts else None
    if found is None:
        is_graph = "workflow" in texts or "prompt" in texts
        hint = " What it holds is a graph of ComfyUI, which is no list of settings." * is_graph
        raise PictureSettingsError(
            f"{name} does not say how it was drawn; give a picture as dpnb, AUTOMATIC1111 or "
            f"InvokeAI have saved it.{hint}"
        )
    return found


def _list_texts(picture: Image) -> dict[str, str]:
    return {str(key): value for key, value in picture.info.items() if isinstance(value, str)}


def _find(texts: Mapping[str, str], picture: Image) -> PictureSettings | None:
    own = _parse_object(texts.get(OWN, ""))
    if own is not None and "format" in own:
        return PictureSettings.from_json(own)
    for values in (own, *(_parse_object(texts.get(name, "")) for name in RECORDS)):
        if values is not None and (record := read_record(values)) is not None:
            return record
    parameters = texts.get(PARAMETERS, "").strip()
    if parameters and _parse_object(parameters) is None:
        return parse_parameters(parameters)
    comment = _read_user_comment(picture)
    return parse_parameters(comment) if has_pairs(comment) else None


def _parse_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; `None` where it is none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        values = decode_json(text)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _read_user_comment(picture: Image) -> str:
    """The comment in a picture's EXIF data; empty where there is none."""
    is_known = picture.format != "PNG" or "exif" in picture.info
    if not is_known and not _may_be_decoded(picture):
        return ""
    comment = picture.getexif().get_ifd(EXIF).get(USER_COMMENT, b"")
    if isinstance(comment, str):
        return comment
    code, content = bytes(comment[:8]), bytes(comment[8:])
    if code == b"UNICODE\0":
        return _decode_wide(content)
    if code in (b"ASCII\0\0\0", bytes(8)):
        return content.decode(errors="replace").strip("\0")
    return bytes(comment).decode(errors="replace").strip("\0")


def _may_be_decoded(picture: Image) -> bool:
    """Whether a picture is small enough to be decoded for what stands behind its pixels."""
    return picture.width * picture.height <= MOST_PIXELS


def _decode_wide(content: bytes) -> str:
    """UTF-16 of the byte order in which it holds settings, or the more likely one."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    big, little = (content.decode(kind, errors="replace") for kind in ("utf-16-be", "utf-16-le"))
    return little if has_pairs(little) and not has_pairs(big) else big


def _to_unicode(text: str) -> str:
    """`text` without halves of characters, which no file can hold."""
    return text.encode(errors="replace").decode()
