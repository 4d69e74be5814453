"""The pipelines that are on this machine already, by name."""

from __future__ import annotations

from pathlib import Path

from dpnb.loading.hub.repositories import BUILT_IN

INDEX = "model_index.json"
"""The file that tells a pipeline from other repositories."""


def list_cached_pipelines(cache_dir: str | Path | None = None) -> tuple[str, ...]:
    """The names of the pipelines inside the package, and of those in the hub's cache.

    Args:
        cache_dir: where downloads are kept; `None` is the hub's cache (`HF_HOME`, `HF_HUB_CACHE`).

    Returns:
        Names for `from_pretrained`: first those inside, then the others in order.
    """
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir(cache_dir).repos
    except (CacheNotFound, ValueError):  # no folder, or a file in its place
        repositories = frozenset()
    found = {
        repository.repo_id
        for repository in repositories
        if repository.repo_type == "model"
        if any(file.file_path.relative_to(revision.snapshot_path) == Path(INDEX)
               for revision in repository.revisions for file in revision.files)
    }  # fmt: skip
    return (*BUILT_IN, *sorted(found - {*BUILT_IN}))
