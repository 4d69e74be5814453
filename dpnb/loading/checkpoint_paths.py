"""Which files of a checkpoint are read: those in its folder, wherever its links lead.

The hub's cache is made of links: a snapshot's files lead to the blobs of their own repository, and
those to a store of the whole cache (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from dpnb.errors import CheckpointError
from dpnb.loading.filenames import PIPELINE_INDEX

_REPOSITORY = re.compile(r"(models|datasets|spaces|kernels)--.+")
_SHARED_BLOB = re.compile(r"[0-9a-f]{64}")


def check_inside(path: Path, root: Path | None = None) -> Path:
    """`path` as it is, once it is certain that it leads to nothing outside of its checkpoint.

    The checkpoint's folder may be a link itself.

    Args:
        path: a file or folder of the checkpoint; it need not be there.
        root: the checkpoint's folder; by default the one that `path` is in, or the one above where
            that is a pipeline's.

    Raises:
        CheckpointError: a link on the way leads out of the folder, or to nothing.
    """
    root = find_checkpoint(path.parent) if root is None else root
    home, real = Path(os.path.realpath(root)), Path(os.path.realpath(path))
    if not real.is_relative_to(home) and not _is_blob(path, real, home):
        raise CheckpointError(
            f"{_first_link(path, root)} is a link to {real}, which lies outside of the folder "
            f"{root}, and no file outside of a checkpoint's folder is read; put a copy in place "
            "of the link, or give the folder that the files are really in."
        )
    if os.path.lexists(path) and not path.exists():
        raise CheckpointError(
            f"{path} is a link to {real}, which is not there; download the model again, or put "
            "the file in place of the link."
        )
    return path


def check_all_inside(folder: Path, root: Path | None = None) -> Path:
    """`folder` as it is, once that is certain of everything in it; see `check_inside`.

    For what chooses by itself which files of a folder it reads.

    Raises:
        CheckpointError: as for `check_inside`.
    """
    root = find_checkpoint(folder) if root is None else root
    waiting, seen = [check_inside(folder, root)], set()
    while waiting:
        place = waiting.pop()
        if (real := os.path.realpath(place)) in seen or not place.is_dir():
            continue
        seen.add(real)
        waiting += [check_inside(place / name, root) for name in sorted(os.listdir(place))]
    return folder


def list_files(folder: Path) -> list[str]:
    """The names of all files in `folder`, with `/`; also of links to files that are not there."""
    found = (path for path in folder.rglob("*") if path.is_file() or not path.exists())
    return [path.relative_to(folder).as_posix() for path in found]


def find_checkpoint(folder: Path) -> Path:
    """The folder of the pipeline that `folder` holds or is a component of; else itself."""
    is_component = os.path.lexists(folder.parent / PIPELINE_INDEX)
    is_pipeline = os.path.lexists(folder / PIPELINE_INDEX)
    return folder.parent if is_component and not is_pipeline else folder


def _is_blob(path: Path, real: Path, home: Path) -> bool:
    """Whether `path` is the link of a snapshot to a blob of its own repository."""
    above = [folder.parent for folder in (home, *home.parents) if folder.name == "snapshots"]
    if not above or not _REPOSITORY.fullmatch(above[0].name) or not path.is_symlink():
        return False
    blobs, shared = above[0] / "blobs", above[0].parent / "blobs"
    first = Path(os.path.normpath(Path(os.path.realpath(path.parent), os.readlink(path))))
    is_shared = real.parent == shared / real.name[:2] and _SHARED_BLOB.fullmatch(real.name)
    return first.parent == blobs and (real.parent == blobs or bool(is_shared))


def _first_link(path: Path, root: Path) -> Path:
    """The link on the way from `root` to `path` that leads out."""
    on_the_way = [folder for folder in (*reversed(path.parents), path) if root in folder.parents]
    home = os.path.realpath(root)
    out = (p for p in on_the_way if not Path(os.path.realpath(p)).is_relative_to(home))
    return next(out, path)
