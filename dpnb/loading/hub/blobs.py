"""What was downloaded, compared with what the hub has announced.

A file's ETag, which is its blob's name in the cache, is the SHA-256 of a large file and git's SHA-1
of a small one; some mirrors give the plain SHA-1. Other ETags say nothing of the content. What the
cache holds already is not read again.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from dpnb.errors import HubError

_CHUNK = 1 << 20


def list_blobs(cache_dir: str | Path | None, name: str, kind: str) -> frozenset[str]:
    """The names of the blobs that the cache holds of a repository; `kind` is that of the hub."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    root = Path(HF_HUB_CACHE if cache_dir is None else cache_dir).expanduser()
    folder = root / repo_folder_name(repo_id=name, repo_type=kind) / "blobs"
    return frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()


def verify_blobs(name: str, files: Iterable[Path], known: frozenset[str] = frozenset()) -> None:
    """Compare files of a snapshot with their ETags, and remove those that differ.

    Args:
        name: of the repository.
        files: in the snapshot, each a link to its blob; others are passed over.
        known: blobs that are not looked at.

    Raises:
        HubError: some differ.
    """
    wrong: list[Path] = []
    for file in files:
        if not file.is_symlink() or not file.exists():
            continue
        blob = file.parent / os.readlink(file)
        if blob.name not in known and not _matches(blob, blob.name):
            wrong.append(file)
            file.unlink()
            blob.unlink(missing_ok=True)
    if wrong:
        raise HubError(
            f"{len(wrong)} files of {name}, such as {wrong[0].name}, came with other contents than "
            "the hub had announced, and are not kept; try again, or give another mirror=."
        )


def _matches(blob: Path, etag: str) -> bool:
    size = blob.stat().st_size
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        hashes = [hashlib.sha256()]
    elif re.fullmatch(r"[0-9a-f]{40}", etag):
        hashes = [hashlib.sha1(b"blob %d\0" % size), hashlib.sha1()]
    else:
        return True
    with blob.open("rb") as file:
        while chunk := file.read(_CHUNK):
            for each in hashes:
                each.update(chunk)
    return etag in {each.hexdigest() for each in hashes}
