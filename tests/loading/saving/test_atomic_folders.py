from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import dpnb.loading.saving.folder_exchange as exchange_module
from dpnb.errors import CheckpointError
from dpnb.loading.saving.atomic_folders import replace_folder
from dpnb.loading.weights.weight_files import find_weights, read_weights, write_weights

STEM = "diffusion_pytorch_model"

SAVE_SLOWLY = """
import sys, time, torch
from pathlib import Path
from dpnb.loading.saving.atomic_folders import replace_folder
from dpnb.loading.weights.weight_files import write_weights
with replace_folder(Path(sys.argv[1])) as stage:
    with replace_folder(stage / "unet") as inner:
        write_weights({"a": torch.full((1000,), 2.0)}, inner, "diffusion_pytorch_model")
    (stage / "model_index.json").write_text("new")
    print("writing", flush=True)
    time.sleep(60)
"""


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def save(folder: Path, files: dict[str, str]) -> None:
    with replace_folder(folder) as stage:
        fill(stage, files)


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down"
    with replace_folder(folder) as stage:
        fill(stage, {"unet/config.json": "1"})
        assert not folder.exists()
    assert tree(tmp_path) == {"deep/down/unet/config.json": "1"}


def test_other_files_of_the_former_folder_stay(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    former = {"notes.txt": "mine", "unet/config.json": "old", "unet/notes": "mine", "lora/a": "b"}
    fill(folder, former)
    (folder / "link").symlink_to("notes.txt")
    (folder / "folder-link").symlink_to("lora")
    save(folder, {"unet/config.json": "new"})
    assert tree(folder) == {**former, "unet/config.json": "new", "link": "mine"}
    assert (folder / "folder-link").readlink() == Path("lora")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_files_that_the_new_ones_make_stale_vanish(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    stale = [
        f"unet/{STEM}-00001-of-00002.safetensors",
        f"unet/{STEM}-00002-of-00002.safetensors",
        f"unet/{STEM}.safetensors.index.json",
        f"unet/{STEM}.bin",
        "text_encoder/pytorch_model.bin",
        "tokenizer/vocab.json",
        "tokenizer/special_tokens_map.json",
    ]
    kept = [f"unet/{STEM}.fp16.safetensors", f"vae/{STEM}.bin", "unet/config.json"]
    fill(folder, dict.fromkeys([*stale, *kept], "old"))
    new = [f"unet/{STEM}.safetensors", "text_encoder/model.safetensors", "tokenizer/tokenizer.json"]
    save(folder, dict.fromkeys(new, "new"))
    assert tree(folder) == dict.fromkeys(kept, "old") | dict.fromkeys(new, "new")


def test_an_exception_leaves_the_former_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    save(folder, {"a": "old"})
    with pytest.raises(KeyboardInterrupt):
        _interrupted_save(folder)
    assert tree(tmp_path) == {"pipe/a": "old"}
    with pytest.raises(KeyboardInterrupt):
        _interrupted_save(tmp_path / "never")
    assert not (tmp_path / "never").exists()


def _interrupted_save(folder: Path) -> None:
    with replace_folder(folder) as stage:
        fill(stage, {"a": "new"})
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_the_former_folder_loadable(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    with replace_folder(folder) as stage:
        (stage / "unet").mkdir()
        write_weights({"a": torch.ones(1000)}, stage / "unet", STEM)
        (stage / "model_index.json").write_text("old")
    command = [sys.executable, "-c", SAVE_SLOWLY, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(tmp_path.iterdir())) == 2
    assert (folder / "model_index.json").read_text() == "old"
    weights = read_weights(find_weights(folder / "unet", STEM))
    assert weights["a"].unique().tolist() == [1.0]
    save(folder, {"model_index.json": "newer"})
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_the_leftovers_of_a_save_that_still_runs_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    with replace_folder(folder) as stage:
        save(folder, {"a": "inner"})
        assert stage.exists()
        fill(stage, {"b": "outer"})
    assert tree(folder) == {"a": "inner", "b": "outer"}


def test_threads_that_save_at_once_each_leave_a_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    save(folder, {"a": "0", "b": "0"})
    done = threading.Event()
    mixtures: list[set[str | None]] = []

    def watch() -> None:
        while not done.is_set():
            descriptor = os.open(folder, os.O_RDONLY)
            seen = {_read_at(descriptor, "a"), _read_at(descriptor, "b")} - {None}
            os.close(descriptor)
            if len(seen) > 1:
                mixtures.append(seen)

    def write(text: str) -> None:
        for _ in range(10):
            save(folder, {"a": text, "b": text})

    watcher = threading.Thread(target=watch)
    writers = [threading.Thread(target=write, args=(str(n),)) for n in range(3)]
    for thread in (watcher, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    watcher.join()
    assert mixtures == []
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def _read_at(directory: int, name: str) -> str | None:
    """The file's text, or `None` once the former folder is being cleared away."""
    try:
        descriptor = os.open(name, os.O_RDONLY, dir_fd=directory)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor) as file:
        return file.read()


def test_a_full_disk_is_said_in_one_sentence_and_leaves_the_former_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    save(folder, {"a": "old"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        for safe_serialization in (True, False):
            with pytest.raises(CheckpointError, match=r"what it held before is untouched\. Free"):
                _save_weights(folder, safe_serialization)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(tmp_path) == {"pipe/a": "old"}


def _save_weights(folder: Path, safe_serialization: bool) -> None:
    with replace_folder(folder) as stage:
        state = {"a": torch.ones(100_000)}
        write_weights(state, stage, STEM, safe_serialization=safe_serialization)


def test_a_file_in_the_way_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(NotADirectoryError, match="is a file; give a folder to save into"):
        save(tmp_path / "file", {"a": "b"})


def test_staging_may_be_nested(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    for text in ("old", "new"):
        with replace_folder(folder) as stage:
            save(stage / "unet", {"config.json": text})
            fill(stage, {"model_index.json": text})
    assert tree(tmp_path) == {"pipe/unet/config.json": "new", "pipe/model_index.json": "new"}


def test_the_current_directory_is_saved_into_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = {"a": "old", f"{STEM}.bin": "old", "mine": "mine"}
    fill(tmp_path, former)
    monkeypatch.chdir(tmp_path)
    save(Path(), {"a": "new", f"{STEM}.safetensors": "new", "unet/config.json": "new"})
    new = dict.fromkeys(["a", f"{STEM}.safetensors", "unet/config.json"], "new")
    assert tree(tmp_path) == {**new, "mine": "mine"}
    assert Path("a").read_text() == "new"


def test_a_failure_in_place_puts_everything_back(tmp_path: Path) -> None:
    fill(tmp_path / "old", {"a": "old", "stale": "old", "z": "old"})
    fill(tmp_path / "new", {"a": "new", "b": "new", "z/inner": "new"})
    before = tree(tmp_path / "old")
    (tmp_path / "new" / "z" / "inner").rename(tmp_path / "elsewhere")
    (tmp_path / "new" / "z" / "inner").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="z"):
        exchange_module.merge_folders(tmp_path / "new", tmp_path / "old", [Path("stale")])
    assert tree(tmp_path / "old") == before


@pytest.mark.parametrize("at_once", [True, False])
def test_folders_are_exchanged_with_and_without_the_systems_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:
        monkeypatch.setattr(exchange_module, "_exchange_at_once", lambda first, second: False)
    save(tmp_path / "pipe", {"a": "old", "b": "old"})
    save(tmp_path / "pipe", {"a": "new"})
    assert tree(tmp_path) == {"pipe/a": "new", "pipe/b": "old"}


def test_a_failed_exchange_in_turn_goes_back(tmp_path: Path) -> None:
    fill(tmp_path, {"old/a": "old"})
    with pytest.raises(FileNotFoundError):
        exchange_module._exchange_in_turn(tmp_path / "missing", tmp_path / "old")
    assert tree(tmp_path) == {"old/a": "old"}


def test_permissions_of_the_folder_are_those_it_had(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    save(folder, {"a": "old"})
    plain = tmp_path / "plain"
    plain.mkdir()
    assert folder.stat().st_mode == plain.stat().st_mode
    folder.chmod(0o750)
    save(folder, {"a": "new"})
    assert folder.stat().st_mode & 0o777 == 0o750


def test_a_symlinked_folder_stays_a_link(tmp_path: Path) -> None:
    save(tmp_path / "real", {"a": "old"})
    (tmp_path / "link").symlink_to("real")
    save(tmp_path / "link", {"a": "new"})
    assert (tmp_path / "link").is_symlink()
    assert tree(tmp_path / "real") == {"a": "new"}
