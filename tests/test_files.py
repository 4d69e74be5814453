"""Files that others have written: what is read, and what is refused in a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dpnb.errors import DpnbError, FileError, MissingFileError
from dpnb.files import check_file, parse_json, read_json, read_text


def written(folder: Path, content: bytes) -> Path:
    path = folder / "file.json"
    path.write_bytes(content)
    return path


def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    for content in (b'{"a": [1, 2.5, null]}', b'\xef\xbb\xbf{"a": [1, 2.5, null]}'):
        assert read_json(written(tmp_path, content)) == {"a": [1, 2.5, None]}


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(written(tmp_path, b"5"))
    assert read_json(link) == 5


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"[" * 100_000, "nests deeper than 64 levels"),
        (b"[" * 65 + b"]" * 65, "nests deeper than 64 levels"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "nests deeper than 64 levels"),
        (b"7" * 5_000, "a number has 5000 digits, and 100 at most are read"),
        (b"-" + b"7" * 101, "a number has 102 digits"),
        (b'["\\ud800"]', "is not valid JSON .*lone surrogate"),
        (b'{"\\udfff": 1}', "is not valid JSON .*lone surrogate"),
        ('"ä"'.encode("latin-1"), "is not in UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "is not in UTF-8"),
    ],
)
def test_what_is_no_plain_json_is_refused(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(FileError, match=sentence) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, DpnbError)


def test_what_nests_as_deep_as_may_be_is_read() -> None:
    assert parse_json("[" * 63 + "1" + "]" * 63, "text")
    assert parse_json("7" * 100, "text") == int("7" * 100)


def test_a_file_larger_than_it_may_be_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = written(tmp_path, b"")
    os.truncate(path, 1 << 40)
    with pytest.raises(FileError, match="and such a file has no more than 64"):
        read_text(path)


def test_what_is_no_file_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name, sentence in (
        ("pipe", "is a pipe or a device"),
        ("zero", "is a pipe or a device"),
        (".", "is a folder"),
        ("loop", "cannot be read"),
        ("a" * 300, "cannot be read"),
        ("a\0b", "cannot be read"),
        ("dangling/x", "There is no file"),
    ):
        with pytest.raises(FileError, match=sentence):
            check_file(tmp_path / name)


def test_a_missing_file_is_missing_to_whoever_asks(tmp_path: Path) -> None:
    for kind in (MissingFileError, FileNotFoundError, DpnbError):
        with pytest.raises(kind, match=r"There is no file .*absent\.json; check its name\."):
            read_json(tmp_path / "absent.json")
