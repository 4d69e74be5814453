"""Pictures from files that anybody may have made."""

from __future__ import annotations

import io
import warnings

from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Those whose decoders read pixels and run nothing."""

LARGEST = 50_000_000
"""Pixels; a camera's picture has fewer, and one of these takes up to 200 MB."""

MILLION = 1_000_000


class UploadError(ValueError):
    """A file is no picture to draw from; the message says why, and what would be one."""


def read_picture(content: bytes, name: str) -> Image.Image:
    """The picture in a file, as `"L"`, `"RGB"` or `"RGBA"`; the first one of several.

    Its size is read before a pixel is, and nothing but pixels is kept.

    Args:
        content: of the file.
        name: of the file.

    Raises:
        UploadError: it is no picture that can be read, or has more than `LARGEST` pixels.
    """
    unreadable = f"{name} is no picture that can be read; choose a PNG or JPEG."
    try:
        picture = _opened(content, name)
        picture.load()
        return _plain(picture)
    except UploadError:
        raise
    # Decoders meet broken files with whatever error comes first.
    except Exception as error:
        raise UploadError(unreadable) from error


def _opened(content: bytes, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UploadError(_too_large(f"{name} has too many pixels")) from error
    pixels = picture.width * picture.height
    if pixels > LARGEST:
        size = f"{picture.width} × {picture.height} pixels"
        raise UploadError(_too_large(f"{name} has {size}"))
    return picture


def _too_large(found: str) -> str:
    return (
        f"{found}; choose a picture of at most {LARGEST // MILLION} million, for example "
        "7000 × 7000."
    )


def _plain(picture: Image.Image) -> Image.Image:
    """The same without profiles, texts, palette or further pictures."""
    if picture.mode.startswith("I"):
        picture = picture.convert("I").point(lambda level: level / 256)
    has_gaps = "transparency" in picture.info or picture.mode in ("LA", "PA", "La", "RGBa")
    kept = {"1": "L", "I": "L", "F": "L"}.get(picture.mode, picture.mode)
    mode = "RGBA" if has_gaps else kept if kept in ("L", "RGB", "RGBA") else "RGB"
    plain = picture.convert(mode)
    return Image.frombytes(mode, plain.size, plain.tobytes())
