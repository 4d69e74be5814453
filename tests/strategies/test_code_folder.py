from __future__ import annotations

import os
import sys
from pathlib import Path
from shutil import rmtree

import pytest

from dpnb.strategies.code_folder import (
    CodeFolder,
    _remove_own,
    _stamp,
    lasting_key,
    open_code_folder,
)
from dpnb.strategies.compile_order import Order
from dpnb.strategies.torch_settings import TorchSettings

NESTING = ("items", tuple, ("tensor",))


def keep(folder: CodeFolder, key: str, size: int = 4, at: int = 0) -> Path:
    made = folder.new_file()
    made.write_bytes(b"c" * size)
    code = folder.keep(key, made, NESTING)
    os.utime(code, (at, at))
    return code


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    folder = CodeFolder(tmp_path / "code")
    assert folder.find("a") is None
    code = keep(folder, "a")
    assert folder.find("a") == (code, NESTING)
    assert code.stat().st_mtime > 0, "it was used now"
    assert len(list(folder.path.iterdir())) == 2
    code.with_suffix(".nesting").write_bytes(b"no pickle")
    assert folder.find("a") is None
    folder.remove("a")
    assert not list(folder.path.iterdir())


def test_a_folder_that_was_cleaned_away_is_made_again(tmp_path: Path) -> None:
    folder = CodeFolder(tmp_path / "code")
    keep(folder, "a")
    rmtree(folder.path)
    keep(folder, "a")
    assert folder.find("a") is not None


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    folder = CodeFolder(tmp_path, most_bytes=10)
    for place, key in enumerate("abc"):
        keep(folder, key, at=place + 1)
    assert [folder.find(key) is not None for key in "abc"] == [False, True, True]
    keep(folder, "large", 11)
    assert [path.name for path in tmp_path.glob("*.pt2")] == ["large.pt2"]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is kept there")
def test_it_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPNB_CACHE", str(tmp_path / "dpnb"))
    folder = open_code_folder()
    assert folder.path == tmp_path / "dpnb" / "compiled"
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.path.chmod(0o770)
    assert open_code_folder().path != folder.path, "others may write there"
    folder.path.chmod(0o700)
    folder.path.rename(tmp_path / "elsewhere")
    folder.path.symlink_to(tmp_path / "elsewhere")
    assert open_code_folder().path != folder.path, "it leads elsewhere"
    monkeypatch.setenv("DPNB_CACHE", "")
    passing = open_code_folder().path
    assert passing.is_dir()
    assert tmp_path not in passing.parents
    monkeypatch.delenv("DPNB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder.path.unlink()
    assert open_code_folder().path == tmp_path / "dpnb" / "compiled"


def test_a_fork_removes_nothing(tmp_path: Path) -> None:
    _remove_own(tmp_path, os.getpid() + 1)
    assert tmp_path.is_dir()
    _remove_own(tmp_path, os.getpid())
    assert not tmp_path.exists()


def test_other_source_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "somebodys_blocks.py"
    source.write_text("a = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    order = Order(b"", (), (), (), None, TorchSettings.now(), (), ("somebodys_blocks",))
    before = lasting_key(order)
    assert lasting_key(order) == before
    _stamp.cache_clear()
    source.write_text("a = 22\n")
    assert lasting_key(order) != before
    _stamp.cache_clear()
