from __future__ import annotations

import errno
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import read_dduf_file

from dpnb.errors import CheckpointError
from dpnb.loading.saving.dduf import ALIGNMENT, list_in_dduf_order, open_dduf, write_dduf
from dpnb.loading.weights.weight_files import read_weights, write_weights

STEM = "diffusion_pytorch_model"
INDEX = {"_class_name": "Any", "unet": ["diffusers", "Any"], "vae": ["diffusers", "Any"]}
WEIGHTS = {"a": torch.arange(24.0), "b": torch.arange(3, dtype=torch.float16)}


def fill(folder: Path) -> None:
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    for name in ("unet", "vae"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text('{"a": 1}')
        (folder / name / "vocab.txt").write_text("a\nb\n")
        write_weights(WEIGHTS, folder / name, STEM)


def entries(folder: Path) -> list[tuple[str, Path]]:
    files = [
        folder / "model_index.json",
        *list_in_dduf_order(folder / "unet"),
        *list_in_dduf_order(folder / "vae"),
    ]
    return [(path.relative_to(folder).as_posix(), path) for path in files]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    fill(folder)
    return folder


@pytest.fixture
def written(folder: Path, tmp_path: Path) -> Path:
    write_dduf(tmp_path / "a.dduf", entries(folder))
    return tmp_path / "a.dduf"


def test_small_files_are_unpacked_and_weights_stay_where_they_are(written: Path) -> None:
    with open_dduf(written) as content:
        assert sorted(content.embedded) == ["unet", "vae"]
        part = content.embedded["unet"][f"{STEM}.safetensors"]
        assert part.path == written
        assert json.loads((content.folder / "unet" / "config.json").read_text()) == {"a": 1}
        assert (content.folder / "unet" / "vocab.txt").read_text() == "a\nb\n"
        assert not list(content.folder.rglob("*.safetensors"))
        assert f"vae/{STEM}.safetensors" in content.names
        assert len(content.names) == 7
        directory = content.folder
    assert not directory.exists()
    assert torch.equal(read_weights((part,))["b"], WEIGHTS["b"])


def test_weights_that_are_written_can_be_mapped(written: Path) -> None:
    offsets = {n: e.offset for n, e in read_dduf_file(written).items() if n.endswith("tensors")}
    assert len(offsets) == 2
    assert {offset % ALIGNMENT for offset in offsets.values()} == {0}


def test_what_a_zip_program_takes_out_is_what_went_in(written: Path, folder: Path) -> None:
    with zipfile.ZipFile(written) as archive:
        assert archive.testzip() is None
        for name, path in entries(folder):
            assert archive.read(name).rstrip(b" ") == path.read_bytes()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES])
def test_a_failed_save_leaves_the_former_file_and_nothing_else(
    written: Path, folder: Path, error: int
) -> None:
    before = written.read_bytes()

    def failing() -> Any:
        yield from entries(folder)[:3]
        raise OSError(error, "no room")

    with pytest.raises(OSError, match="no room") as caught:
        write_dduf(written, failing())
    assert isinstance(caught.value, CheckpointError) == (error == errno.ENOSPC)
    assert written.read_bytes() == before
    assert sorted(p.name for p in written.parent.iterdir()) == ["a.dduf", "folder"]


def test_files_that_such_a_file_cannot_hold_are_refused(written: Path, folder: Path) -> None:
    (folder / "unet" / "run.py").write_text("")
    with pytest.raises(ValueError, match="save into a folder instead"):
        write_dduf(written, entries(folder))


def packed(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


GOOD = {"model_index.json": json.dumps(INDEX).encode(), "unet/config.json": b"{}"}


def zipped(**changes: Any) -> Callable[[Path], None]:
    return lambda path: packed(path, {**GOOD, **changes.pop("files", {})}, **changes)


def twice(path: Path) -> None:
    packed(path, {**GOOD, "unet/config.jsoN": b"{}"})
    path.write_bytes(path.read_bytes().replace(b"config.jsoN", b"config.json"))


def overlapping(path: Path) -> None:
    packed(path, {**GOOD, "unet/a.json": b"1" * 100, "unet/b.json": b"2" * 100})
    content = bytearray(path.read_bytes())
    at = content.rfind(b"unet/b.json")
    first = content.find(b"PK\x03\x04", content.find(b"unet/config.json"))
    content[at - 4 : at] = struct.pack("<I", first)
    path.write_bytes(content)


def longer(path: Path) -> None:
    packed(path, {**GOOD, "unet/a.json": b"1" * 100})
    content = bytearray(path.read_bytes())
    at = content.rfind(b"unet/a.json")
    content[at - 26 : at - 18] = struct.pack("<II", 10**6, 10**6)
    path.write_bytes(content)


def encrypted(path: Path) -> None:
    packed(path, GOOD)
    content = bytearray(path.read_bytes())
    at = content.rfind(b"unet/config.json") - 46
    content[at + 8] |= 1
    path.write_bytes(content)


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no zip": (lambda p: p.write_bytes(b"not a zip"), "File is not a zip file"),
    "empty": (lambda p: p.write_bytes(b""), "File is not a zip file"),
    "no index": (lambda p: packed(p, {"unet/config.json": b"{}"}), "model_index.json"),
    "index": (zipped(files={"model_index.json": b"["}), "Expecting value"),
    "list": (zipped(files={"model_index.json": b"[]"}), "Must be a dictionary"),
    "deep": (zipped(files={"model_index.json": b"[" * 100_000}), "recursion"),
    "compressed": (zipped(compression=zipfile.ZIP_DEFLATED), "is compressed"),
    "parent": (zipped(files={"../evil.json": b"{}"}), "lies outside the file's folders"),
    "root": (zipped(files={"/evil.json": b"{}"}), "lies outside the file's folders"),
    "inner parent": (zipped(files={"unet/../../evil.json": b"{}"}), "lies outside"),
    "backslash": (zipped(files={"unet\\..\\..\\evil.json": b"{}"}), "lies outside"),
    "drive": (zipped(files={"C:/evil.json": b"{}"}), "lies outside the file's folders"),
    "nested zip": (zipped(files={"unet/inner.zip": b"PK"}), "File type not allowed"),
    "pickle": (zipped(files={f"unet/{STEM}.bin": b"PK"}), "File type not allowed"),
    "code": (zipped(files={"unet/run.py": b""}), "File type not allowed"),
    "nested folder": (zipped(files={"unet/deep/a.json": b"{}"}), "lies outside"),
    "unknown folder": (zipped(files={"other/config.json": b"{}"}), "entry 'other'"),
    "no config": (zipped(files={"vae/a.json": b"{}"}), "required file in folder 'vae'"),
    "twice": (twice, "is there twice"),
    "overlapping": (overlapping, "overlaps with another entry"),
    "longer": (longer, "is longer than the file"),
    "encrypted": (encrypted, "is encrypted"),
}


@pytest.mark.parametrize(("make", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_breaks_the_layout_is_refused_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], Any], sentence: str
) -> None:
    path = tmp_path / "inner" / "bad.dduf"
    path.parent.mkdir()
    make(path)
    with pytest.raises(CheckpointError, match=sentence) as caught, open_dduf(path):
        pass
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["inner", "bad.dduf"]


def test_too_much_beside_the_weights_is_refused(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpnb.loading.saving.dduf.MAX_SMALL", 10)
    with pytest.raises(CheckpointError, match="bytes beside its weights"), open_dduf(written):
        pass


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file .*x\.dduf"), open_dduf(tmp_path / "x.dduf"):
        pass
