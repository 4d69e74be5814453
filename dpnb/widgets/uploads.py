"""Pictures and films from files that anybody may have made."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageSequence
from torch import Tensor

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Those whose decoders read pixels and run nothing."""

LARGEST = 50_000_000
"""Pixels; a camera's picture has fewer, and one of these takes up to 200 MB."""

LARGEST_FILM = 4 * LARGEST
"""Pixels of all pictures of a film together; they take up to 800 MB."""

MILLION = 1_000_000

FILMS = (b"ftyp", b"\x1aE\xdf\xa3", b"AVI ")
"""What stands at the beginning of MP4 and MOV, WebM and Matroska, and AVI files."""


class UploadError(ValueError):
    """A file is no picture to draw from; the message says why, and what would be one."""


def list_uploads(value: Any) -> list[tuple[str, bytes]]:
    """The names and contents of what was chosen in a field for files.

    Args:
        value: of the field; ipywidgets 7 has files by name, and later ones have them in a row.
    """
    if isinstance(value, Mapping):
        return [(str(name), bytes(file["content"])) for name, file in value.items()]
    return [(str(file["name"]), bytes(file["content"])) for file in value]


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
        return next(_read(content, name))
    except UploadError:
        raise
    # Decoders meet broken files with whatever error comes first.
    except Exception as error:
        raise UploadError(unreadable) from error


def read_frames(content: bytes, name: str) -> list[Image.Image]:
    """All pictures in a file, in their order: those of a film, or one.

    Args:
        content: of the file: an animated GIF, WebP or PNG, or any other picture.
        name: of the file.

    Raises:
        UploadError: it holds none that can be read, or more than `LARGEST_FILM` pixels.
    """
    if any(sign in content[:12] for sign in FILMS):
        raise UploadError(
            f"{name} is a film of a kind that cannot be read here; save it as an animated GIF, "
            "WebP or PNG, or choose its frames as pictures."
        )
    frames: list[Image.Image] = []
    try:
        for frame in _read(content, name):
            frames.append(frame)
            if len(frames) * frame.width * frame.height > LARGEST_FILM:
                raise UploadError(
                    f"{name} has more than {LARGEST_FILM // MILLION} million pixels in all its "
                    "frames; choose a shorter or a smaller film."
                )
    except UploadError:
        raise
    except Exception as error:
        raise UploadError(
            f"{name} is no film that can be read; choose an animated GIF, WebP or PNG."
        ) from error
    return frames


def load_picture(file: str | Path) -> Image.Image:
    """The picture in a file on this machine; see `read_picture`."""
    return read_picture(Path(file).read_bytes(), Path(file).name)


def load_frames(*files: str | Path) -> list[Image.Image]:
    """The pictures in files on this machine, one after the other; see `read_frames`."""
    return [frame for one in map(Path, files) for frame in read_frames(one.read_bytes(), one.name)]


def stack_frames(frames: list[Image.Image], mode: str = "RGB") -> Tensor:
    """Frames as numbers in [0, 1]: `[1, channels, frames, height, width]`.

    Args:
        frames: brought to the size of the first one.
        mode: `"RGB"`, or `"L"` for one channel.
    """
    alike = [frame.convert(mode).resize(frames[0].size) for frame in frames]
    levels = np.stack([np.atleast_3d(np.asarray(frame, dtype=np.float32)) for frame in alike])
    return torch.from_numpy(levels / np.float32(255)).permute(3, 0, 1, 2)[None]


def _read(content: bytes, name: str) -> Iterator[Image.Image]:
    """The pictures in a file, each of pixels alone."""
    for frame in ImageSequence.Iterator(_opened(content, name)):
        frame.load()
        yield _plain(frame)


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
