from __future__ import annotations

import io
import json
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import dpnb
from dpnb.errors import FileError, MissingFileError
from dpnb.pipelines.settings.parameters_text import write_parameters
from dpnb.pipelines.settings.picture_files import (
    encode_with_settings,
    read_settings,
    save_with_settings,
)
from dpnb.pipelines.settings.picture_settings import PictureSettings, PictureSettingsError
from tests.pipelines.settings.test_foreign_records import INVOKE, SWARM
from tests.pipelines.settings.test_picture_settings import APPLE, SETTINGS

PICTURE = Image.new("RGB", (64, 64), "red")


def png(**texts: str) -> bytes:
    """A PNG file with these texts."""
    info, file = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_text(name, text)
    PICTURE.save(file, "PNG", pnginfo=info)
    return file.getvalue()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(SETTINGS)
def test_what_a_file_is_given_is_read_from_it(one: PictureSettings) -> None:
    assert read_settings(encode_with_settings(PICTURE, one)) == one


def test_every_form_of_a_picture_is_read(tmp_path: Path) -> None:
    path = tmp_path / "apple.png"
    save_with_settings(path, PICTURE, APPLE)
    content = path.read_bytes()
    with path.open("rb") as file, Image.open(path) as opened:
        for source in (path, str(path), content, bytearray(content), file, opened):
            assert dpnb.read_settings(source) == APPLE  # type: ignore[arg-type]


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG file."""
    found, place = [], 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        found.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def test_text_that_latin_letters_write_is_text_and_other_is_international() -> None:
    for prompt, kind in (("a café", b"tEXt"), ("кошка 猫", b"iTXt")):
        content = encode_with_settings(PICTURE, PictureSettings(prompt, seed=1))
        kinds = {data.split(b"\0")[0]: name for name, data in chunks(content)}
        assert kinds[b"parameters"] == kinds[b"dpnb"] == kind
        with Image.open(io.BytesIO(content)) as opened:
            assert opened.info["parameters"].startswith(prompt)
            assert "Size: 64x64" in opened.info["parameters"]


def test_without_settings_nothing_is_written() -> None:
    content = encode_with_settings(PICTURE, None)
    assert not {b"tEXt", b"iTXt"} & {name for name, _ in chunks(content)}
    with pytest.raises(PictureSettingsError, match="this file does not say how it was drawn; give"):
        read_settings(content)


def test_half_of_a_character_does_not_keep_a_picture_from_being_saved() -> None:
    content = encode_with_settings(PICTURE, PictureSettings("a \ud800 b"))
    assert read_settings(content).prompt == "a ? b"


def test_texts_of_others_are_read_where_ours_is_missing() -> None:
    text = write_parameters(APPLE)
    assert read_settings(png(parameters=text)).seed == APPLE.seed
    assert read_settings(png(parameters=text, dpnb="{}")).seed == APPLE.seed
    assert read_settings(png(invokeai_metadata=json.dumps(INVOKE))).prompt == "landscape"
    assert read_settings(png(parameters=json.dumps(SWARM))).prompt == "a woman"
    assert read_settings(png(dpnb=json.dumps({"prompt": "sun", "seed": 3}))).seed == 3


def exif(comment: bytes) -> Image.Exif:
    data = Image.Exif()
    data.get_ifd(0x8769)[0x9286] = comment
    return data


COMMENTS = {
    "unicode, big end first": lambda text: b"UNICODE\0" + text.encode("utf-16-be"),
    "unicode, little end first": lambda text: b"UNICODE\0" + text.encode("utf-16-le"),
    "unicode, marked": lambda text: b"UNICODE\0" + text.encode("utf-16"),
    "ascii": lambda text: b"ASCII\0\0\0" + text.encode(),
    "undefined": lambda text: bytes(8) + text.encode(),
    "bare": lambda text: text.encode(),
}


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("write", COMMENTS.values(), ids=COMMENTS)
def test_the_comment_of_a_photograph_is_read(kind: str, write: Any) -> None:
    text, file = (
        write_parameters(PictureSettings("猫 é", steps=3, seed=1, width=8, height=8)),
        io.BytesIO(),
    )
    PICTURE.save(file, kind, exif=exif(write(text)).tobytes())
    found = read_settings(file.getvalue())
    assert (found.prompt, found.steps, found.seed) == ("猫 é", 3, 1)


def test_a_photograph_with_another_comment_says_nothing() -> None:
    file = io.BytesIO()
    PICTURE.save(file, "JPEG", exif=exif(b"ASCII\0\0\0my holiday"))
    with pytest.raises(PictureSettingsError, match="does not say"):
        read_settings(file.getvalue())


def test_a_text_behind_the_pixels_is_found() -> None:
    content = png()
    data = b"parameters\0" + write_parameters(APPLE).encode("latin-1")
    body = b"tEXt" + data
    chunk = struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    assert read_settings(content[:-12] + chunk + content[-12:]).seed == APPLE.seed


def test_a_graph_of_comfyui_is_named() -> None:
    with pytest.raises(PictureSettingsError, match="a graph of ComfyUI"):
        read_settings(png(prompt='{"3": {"class_type": "KSampler"}}', workflow="{}"))


def test_damaged_settings_of_ours_are_refused_in_a_sentence() -> None:
    values = {"format": "dpnb picture 1", "steps": "many"}
    with pytest.raises(PictureSettingsError, match=r"settings\.steps is 'many'"):
        read_settings(png(dpnb=json.dumps(values)))


def test_what_is_no_picture_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="There is no file"):
        read_settings(tmp_path / "gone.png")
    with pytest.raises(FileError, match="is a folder"):
        read_settings(tmp_path)
    with pytest.raises(FileError, match=r"cannot be read as a picture \(it is none\)"):
        read_settings(b"text")
    with pytest.raises(TypeError, match="int is no picture; give a path"):
        read_settings(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="StringIO is no picture"):
        read_settings(io.StringIO("x"))  # type: ignore[arg-type]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="a pipe or a device"):
        read_settings(tmp_path / "pipe")


WHOLE = encode_with_settings(PICTURE, APPLE)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_file_fails_in_a_sentence_or_is_read(place: int, byte: int, cut: bool) -> None:
    damaged = WHOLE[:place] if cut else WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
    with suppress(FileError, PictureSettingsError):
        assert isinstance(read_settings(damaged), PictureSettings)
