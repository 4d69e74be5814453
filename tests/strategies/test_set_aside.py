"""Values that wait until a strategy is switched off: in a file of their own, or in their file."""

from __future__ import annotations

import gc
import os
import resource
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dpnb.errors import StrategyError
from dpnb.strategies.file_mappings import list_file_mappings
from dpnb.strategies.set_aside import SetAside


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.randn(64, 64), "b": torch.randn(3)}, path)
    return path


def is_mapped(path: Path) -> bool:
    """Whether this process has mapped a file."""
    return any(mapping.path == str(path) for mapping in list_file_mappings())


def count_open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("shape", [(), (0,), (5, 3), (2, 3, 4, 5)])
def test_values_come_back_as_often_as_they_are_asked_for(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    plain = (torch.randn(shape) * 9).to(dtype)
    values = SetAside()(plain)
    for made in (values(), values()):
        assert torch.equal(made, plain)
        assert made.dtype == dtype
        assert made.untyped_storage().nbytes() == plain.untyped_storage().nbytes()


def test_they_lie_in_memory_as_they_did() -> None:
    plain = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    made = SetAside()(plain)()
    assert torch.equal(made, plain)
    assert made.stride() == plain.stride()


@pytest.mark.parametrize("view", [torch.randn(4, 4)[1:], torch.randn(4, 1).expand(4, 4)])
def test_what_shares_its_memory_stays_where_it_is(view: Tensor) -> None:
    assert SetAside()(view)() is view


def test_many_wait_in_one_file_that_goes_with_the_last() -> None:
    put, before = SetAside(), count_open_files()
    plain = [torch.randn(size) for size in (10, 20, 30)]
    values = [put(tensor) for tensor in plain]
    assert count_open_files() == before + 1
    assert all(torch.equal(one(), tensor) for one, tensor in zip(values, plain, strict=True))
    values.clear()
    assert count_open_files() == before


def test_room_is_used_again() -> None:
    put = SetAside()
    first, kept = put(torch.zeros(1000)), put(torch.ones(1000))
    del first
    second = put(torch.full((1000,), 2.0))
    room = put._room() if put._room is not None else None
    assert room is not None
    assert room._end == 8000
    assert (kept() == 1).all()
    assert (second() == 2).all()


# --- mapped files ---


def test_what_is_mapped_from_a_file_is_mapped_again(file: Path) -> None:
    weights, before = load_file(file), count_open_files()
    plain, put = {name: value.clone() for name, value in weights.items()}, SetAside()
    values = {name: put(value) for name, value in weights.items()}
    del weights
    gc.collect()
    assert not is_mapped(file)
    made = {name: value() for name, value in values.items()}
    assert is_mapped(file)
    assert all(torch.equal(made[name], plain[name]) for name in plain)
    assert count_open_files() <= before + 3
    made["a"].zero_()  # it is this process's own
    assert torch.equal(load_file(file)["a"], plain["a"])


def test_what_was_changed_in_memory_comes_back_changed(file: Path) -> None:
    weights, put = load_file(file), SetAside()
    weights["a"][0] = 7
    changed = weights["a"].clone()
    values = put(weights["a"])
    del weights
    assert torch.equal(values(), changed)


def test_a_file_that_was_replaced_still_gives_what_it_held(file: Path, tmp_path: Path) -> None:
    weights, put = load_file(file), SetAside()
    plain, values = weights["a"].clone(), put(weights["a"])
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(64, 64), "b": torch.zeros(3)}, other)
    other.replace(file)
    assert torch.equal(values(), plain)


def test_a_file_that_was_written_to_is_told(file: Path) -> None:
    values = SetAside()(load_file(file)["a"])
    with file.open("r+b") as opened:
        opened.seek(-4, os.SEEK_END)
        opened.write(b"dpnb")
    os.utime(file, ns=(0, 0))
    with pytest.raises(StrategyError, match="was written to while weights"):
        values()


def test_a_full_disk_is_told_and_forgotten() -> None:
    keep, plain = SetAside(), torch.randn(1 << 16)
    kept = keep(torch.ones(4))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, limits[1]))
    try:
        with pytest.raises(StrategyError, match=r"256 KiB of plain weights .*TMPDIR") as caught:
            keep(plain)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tempfile.gettempdir() in str(caught.value)
    assert torch.equal(keep(plain)(), plain)
    assert torch.equal(kept(), torch.ones(4))


def test_a_folder_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with pytest.raises(StrategyError, match=r"no room for it in /nowhere/at/all \(No such file"):
        SetAside()(torch.ones(4))
