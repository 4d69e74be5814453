from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dpnb.widgets import uploads
from dpnb.widgets.uploads import LARGEST, UploadError, read_frames, read_picture
from tests.pictures import picture

ROOM = 40 << 20


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def claiming(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG file that claims a size and holds hardly anything."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body + chunk(b"IEND", b"")


def bitmap_claiming(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


@pytest.mark.parametrize("size", [(13_000, 13_000), (7100, 7100), (LARGEST + 1, 1), (2, LARGEST)])
@pytest.mark.parametrize("form", [claiming, bitmap_claiming])
def test_a_picture_with_too_many_pixels_is_refused_by_its_header(
    size: tuple[int, int], form: Any
) -> None:
    content = form(*size)
    tracemalloc.start()
    with pytest.raises(UploadError) as refusal:
        read_picture(content, "sky.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    width, height = size
    assert str(refusal.value) == (
        f"sky.png has {width} × {height} pixels; choose a picture of at most 50 million, for "
        "example 7000 × 7000."
    )
    assert peak < 1 << 20


def test_what_the_decoder_itself_takes_for_a_bomb_is_a_sentence_too() -> None:
    with pytest.raises(UploadError, match=r"^sky.png has too many pixels; choose .* 50 million"):
        read_picture(claiming(60_000, 60_000), "sky.png")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n",
        encoded(picture(0, 64, 64), "PNG")[:200],
        encoded(picture(0, 64, 64), "JPEG")[:300],
        encoded(picture(0, 64, 64), "WEBP")[:100],
        encoded(picture(0, 64, 64), "GIF")[:900],
        encoded(picture(0, 64, 64), "TIFF")[:60],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print\n",
        claiming(1000, 1000),
        claiming(64, 64, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200 << 20), 9))),
    ],
    ids=range(11),
)
def test_what_is_no_whole_picture_is_refused_in_a_sentence(content: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(UploadError) as refusal:
        read_picture(content, "notes.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(refusal.value) == ("notes.png is no picture that can be read; choose a PNG or JPEG.")
    assert peak < ROOM


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pictures_are_read(kind: str) -> None:
    image = picture(0, 16, 24)
    found = read_picture(encoded(image, kind), "sky")
    assert found.size == image.size
    assert found.mode == "RGB"
    if kind in ("PNG", "BMP", "TIFF"):
        assert found.tobytes() == image.tobytes()


def test_nothing_but_pixels_is_kept() -> None:
    texts = PngInfo()
    texts.add_text("Comment", "x" * (1 << 20))
    content = encoded(picture(), "PNG", pnginfo=texts, icc_profile=bytes(1 << 20))
    found = read_picture(content, "sky.png")
    assert found.info == {}
    assert found.tobytes() == picture().tobytes()
    assert len(encoded(found, "PNG")) < 3000


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animated_picture_the_first_one_is_taken(kind: str) -> None:
    first, *others = (Image.new("RGB", (8, 8), (level, 0, 0)) for level in (255, 128, 0))
    lossless = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(first, kind, save_all=True, append_images=others, **lossless)
    found = read_picture(content, "dance")
    assert found.convert("RGB").getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("1", "L"), ("L", "L"), ("P", "RGB"), ("LA", "RGBA"), ("RGBA", "RGBA"), ("I;16", "L")],
)
def test_every_kind_of_pixel_becomes_one_that_is_drawn_from(mode: str, expected: str) -> None:
    if mode == "I;16":
        levels = np.full((8, 8), 200 << 8, np.uint16)
        image = Image.fromarray(levels)
    else:
        image = picture(0, 8, 8).convert(mode)
    found = read_picture(encoded(image, "PNG"), "sky.png")
    assert found.mode == expected
    if mode == "I;16":
        assert found.getpixel((3, 3)) == 200
    elif mode != "P":
        assert found.tobytes() == image.convert(expected).tobytes()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_all_frames_of_a_film_are_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (255, 128, 0)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    found = read_frames(content, "dance")
    assert [frame.convert("RGB").getpixel((4, 4)) for frame in found] == [
        (255, 0, 0),
        (128, 0, 0),
        (0, 0, 0),
    ]
    assert len(read_frames(encoded(picture(), "PNG"), "sky.png")) == 1


@pytest.mark.parametrize(
    "content",
    [b"\0\0\0\x18ftypmp42" + bytes(50), b"\x1aE\xdf\xa3" + bytes(50), b"RIFF\0\0\0\0AVI LIST"],
)
def test_a_film_that_cannot_be_read_is_a_sentence(content: bytes) -> None:
    with pytest.raises(UploadError, match=r"dance.mp4 is a film .* save it as an animated GIF"):
        read_frames(content, "dance.mp4")


def test_what_is_no_film_is_a_sentence_too() -> None:
    with pytest.raises(UploadError, match=r"^notes.gif is no film that can be read"):
        read_frames(b"no film", "notes.gif")


def test_a_film_may_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Image.new("L", (100, 100), level) for level in range(20)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    monkeypatch.setattr(uploads, "LARGEST_FILM", 100_000)
    with pytest.raises(UploadError, match=r"dance.gif has more than 0 million pixels in all"):
        read_frames(content, "dance.gif")
