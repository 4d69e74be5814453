"""Folders that change all at once: a save that fails, or is killed, leaves the former one whole."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dpnb.atomic import OUT_OF_SPACE, explain_full_disk, lock, lock_if_abandoned, sync
from dpnb.errors import CheckpointError
from dpnb.loading.filenames import WeightName
from dpnb.loading.saving.folder_exchange import exchange_folders, merge_folders

_SUFFIX = ".staging"
_TOKENIZER_FILES = frozenset(
    {
        "added_tokens.json",
        "merges.txt",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    }
)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """A new, empty directory to write into, which becomes `folder` when the block ends well.

    Until then `folder` is untouched, whatever happens: an exception, a full disk, a kill. Files of
    the former folder that the block did not write stay, except those that what it wrote makes
    stale: other weights of the same kind (say, the shards of a larger model) and other files of a
    tokenizer. The change is one step where the system can exchange two directories (Linux).

    A mount point, the current directory, and a folder whose parent is read-only cannot be
    exchanged: there files change one by one, and a kill within that moment leaves a mixture.

    Raises:
        NotADirectoryError: `folder` is a file.
        CheckpointError: the disk is full, or a quota or limit reached.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder to save into.")
    with explain_full_disk(folder, CheckpointError), ExitStack() as cleanup:
        folder.parent.mkdir(parents=True, exist_ok=True)
        is_fixed = _is_fixed(folder)
        stage = _open_stage(folder, folder if is_fixed else folder.parent, cleanup)
        yield stage
        if not folder.parent.name.endswith(_SUFFIX):
            cleanup.callback(lock(folder.parent))
        if is_fixed:
            _make_durable(stage)
            merge_folders(stage, folder, _former_files(folder, stage)[1])
        else:
            _complete(folder, stage)
            exchange_folders(stage, folder)


@contextmanager
def make_workspace(target: Path) -> Iterator[Path]:
    """A new, empty directory beside `target`, for making it; it is gone when the block ends.

    One that a killed process left there is removed.
    """
    with ExitStack() as cleanup:
        yield _open_stage(target, target.parent, cleanup)


def _complete(folder: Path, stage: Path) -> None:
    """Give `stage` what it is to share with `folder`, and wait until it is on the disk."""
    for name in _former_files(folder, stage)[0]:
        _link(folder / name, stage / name)
    if folder.exists():
        shutil.copymode(folder, stage)
    _make_durable(stage)


def _is_fixed(folder: Path) -> bool:
    if not folder.exists():
        return False
    is_current = Path.cwd().is_relative_to(folder)
    return is_current or os.path.ismount(folder) or not os.access(folder.parent, os.W_OK)


def _open_stage(folder: Path, parent: Path, cleanup: ExitStack) -> Path:
    """A directory in `parent` that is this process's alone, until `cleanup`."""
    prefix = f".{folder.name}."
    for leftover in parent.glob(f".*{_SUFFIX}*"):
        if leftover.name.startswith(prefix) and (release := lock_if_abandoned(leftover)):
            shutil.rmtree(leftover, ignore_errors=True)
            release()
    while True:
        stage = parent / f"{prefix}{secrets.token_hex(8)}{_SUFFIX}"
        stage.mkdir()
        with suppress(FileNotFoundError):
            release = lock(stage)
            if stage.exists():
                break
            release()
    cleanup.callback(shutil.rmtree, stage, ignore_errors=True)
    cleanup.callback(release)
    return stage


def _former_files(folder: Path, stage: Path) -> tuple[list[Path], list[Path]]:
    """The files of `folder` that stay, and those made stale by what `stage` holds."""
    kept: list[Path] = []
    stale: list[Path] = []
    for directory, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.endswith(_SUFFIX)]
        links = [name for name in inner if Path(directory, name).is_symlink()]
        place = Path(directory).relative_to(folder)
        written = _names_in(stage / place)
        subjects = {_subject(name) for name in written}
        for name in (*names, *links):
            if _subject(name) not in subjects:
                kept.append(place / name)
            elif name not in written:
                stale.append(place / name)
    return kept, stale


def _names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def _subject(name: str) -> object:
    """What a file is about: a save that writes one file of a subject replaces them all."""
    weight = WeightName.parse(name)
    if weight is not None:
        return weight.kind
    return "tokenizer" if name in _TOKENIZER_FILES else name


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in OUT_OF_SPACE:
            raise
        shutil.copy2(source, target, follow_symlinks=False)


def _make_durable(stage: Path) -> None:
    if os.name != "posix":
        return
    for directory, _, names in os.walk(stage):
        for path in (Path(directory, name) for name in names):
            if not path.is_symlink():
                sync(path)
        sync(Path(directory))
