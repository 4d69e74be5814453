"""Folders by name: on this machine, in the package, or fetched from the Hugging Face hub.

Downloads go into the hub's own cache, in its own layout, so that other programs share them.
"""

from __future__ import annotations

import glob
import importlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from typing_extensions import Self

from dpnb.errors import CheckpointError, HubError
from dpnb.loading.checkpoint_paths import check_all_inside, list_files
from dpnb.loading.hub.blobs import list_blobs, verify_blobs
from dpnb.loading.hub.errors import explain_hub_errors, is_unreachable, not_cached
from dpnb.loading.hub.responses import check_responses, not_a_hub

logger = logging.getLogger(__name__)

Select = Callable[[Sequence[str]], Sequence[str]]
"""Chooses files out of all the names in a repository."""

HUGGING_FACE = "https://huggingface.co"
"""The hub that is asked by default."""

BUILT_IN: Mapping[str, str] = {"dpnb/emoji-64": "dpnb.emoji"}
"""Names that stand for a folder inside the package, and the module whose `FOLDER` it is."""


@dataclass(frozen=True)
class HubOptions:
    """How files come from the hub.

    Attributes:
        cache_dir: Where downloads are kept; `None` is the hub's cache (`HF_HOME`, `HF_HUB_CACHE`).
        force_download: Fetch again what the cache holds.
        local_files_only: Ask no server; what the cache lacks is an error.
        token: An access token; `None` or `True` uses the one logged in with, `False` none.
        revision: A branch, tag or commit.
        proxies: Addresses by scheme, such as `{"https": "http://proxy:3128"}`.
        mirror: The address of a hub to ask in place of `HF_ENDPOINT` and huggingface.co. The token
            logged in with is not sent there.
    """

    cache_dir: str | Path | None = None
    force_download: bool = False
    local_files_only: bool = False
    token: str | bool | None = None
    revision: str | None = "main"
    proxies: Mapping[str, str] | None = None
    mirror: str | None = None

    @classmethod
    def split(cls, options: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Those of `options` that are about the hub, and the others."""
        names = {field.name for field in fields(cls)}
        own = {name: value for name, value in options.items() if name in names}
        return cls(**own), {name: v for name, v in options.items() if name not in names}

    @property
    def endpoint(self) -> str | None:
        """The hub's address; `None` is huggingface.co."""
        address = self.mirror or os.environ.get("HF_ENDPOINT")
        return address.rstrip("/") if address else None

    @property
    def hub_token(self) -> str | bool | None:
        """The token as huggingface_hub takes it."""
        return False if self.mirror and not isinstance(self.token, str) else self.token


def fetch(name: str | Path, select: Select, options: HubOptions | None = None) -> Path:
    """The folder that `name` stands for, holding at least the files that `select` chooses.

    An existing folder is returned as it is, and so is one inside the package. Otherwise `name` is
    a repository: the chosen files that the cache lacks are downloaded, cut transfers resumed.
    Where the hub cannot be reached the cached copy serves.

    Args:
        name: A folder, a built-in name, or `"owner/repository"`.
        select: Given all the repository's files, the ones wanted; may raise.
        options: Which revision, which hub, and how.

    Raises:
        HubError: there is no such repository or revision, access is refused, or there is neither
            a connection nor a complete copy in the cache.
        CheckpointError: `name` is a file.
        ValueError: `name` is neither a folder nor the form of a repository's name.
    """
    folder = local_folder(name)
    if folder is not None:
        return folder
    name, options = str(name), options or HubOptions()
    with (
        explain_hub_errors(name, options.revision),
        use_proxies(options.proxies),
        check_responses(),
    ):
        files, is_offline = _list_files(name, options)
        return _download(name, select(files), options, is_offline)


def fetch_file(
    name: str, files: Sequence[str], options: HubOptions | None = None, *, kind: str = "model"
) -> Path | None:
    """The first of `files` that the repository `name` has; `None` if it has none of them.

    Args:
        name: `"owner/repository"`.
        files: Names, the one that is wanted most first.
        options: Which revision, which hub, and how.
        kind: Of the repository: `"model"` or `"dataset"`.

    Raises:
        HubError: as for `fetch`.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    options = options or HubOptions()
    with (
        explain_hub_errors(name, options.revision),
        use_proxies(options.proxies),
        check_responses(),
    ):
        known = list_blobs(options.cache_dir, name, kind)
        for file in files:
            try:
                path = Path(
                    hf_hub_download(
                        name,
                        file,
                        repo_type=kind,
                        revision=options.revision,
                        cache_dir=options.cache_dir,
                        force_download=options.force_download,
                        token=options.hub_token,
                        local_files_only=options.local_files_only,
                        endpoint=options.endpoint,
                    )
                )
                verify_blobs(name, [path], frozenset() if options.force_download else known)
                return path
            except RemoteEntryNotFoundError:
                continue
            except LocalEntryNotFoundError:
                if file == files[-1]:
                    raise
    return None


def find_cached_file(name: str, file: str, options: HubOptions | None = None) -> Path | None:
    """A file of the repository `name` that the cache holds; no server is asked.

    Raises:
        ValueError: `name` is not the form of a repository's name.
    """
    from huggingface_hub import try_to_load_from_cache

    options = options or HubOptions()
    found = try_to_load_from_cache(
        name, file, cache_dir=options.cache_dir, revision=options.revision
    )
    return Path(found) if isinstance(found, str) else None


def local_folder(name: str | Path) -> Path | None:
    """The folder that `name` is on this machine or inside the package; `None` for a repository.

    Raises:
        CheckpointError: `name` is a file.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise CheckpointError(
            f"{path} is a file; give the folder that holds the model, or a repository's name."
        )
    if str(name) in BUILT_IN:
        folder: Path = importlib.import_module(BUILT_IN[str(name)]).FOLDER
        return folder
    return None


def upload_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
    revision: str | None = None,
    mirror: str | None = None,
    unless_there: Sequence[str] = (),
) -> str:
    """Upload everything in `folder` as one commit of the repository `repo_id`, and its address.

    Args:
        folder: A local folder.
        repo_id: `"owner/repository"`, or a repository of the token's owner; made if there is none.
        private: Of a repository made now; `None` leaves it to the owner's setting.
        token: An access token that may write; `None` or `True` uses the one logged in with.
        commit_message: One line for the repository's history.
        create_pr: Ask for the change instead of making it.
        revision: The branch to commit to.
        mirror: As in `HubOptions`.
        unless_there: Files that do not replace those of the repository.

    Raises:
        HubError: the token may not write there, or there is no connection.
        CheckpointError: a link in `folder` leads out of it.
    """
    from huggingface_hub import HfApi

    options = HubOptions(token=token, mirror=mirror)
    check_all_inside(Path(folder), Path(folder))
    with explain_hub_errors(repo_id, revision):
        api = HfApi(endpoint=options.endpoint, token=options.hub_token)
        full_name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        kept = [file for file in unless_there if api.file_exists(full_name, file)]
        commit = api.upload_folder(
            repo_id=full_name,
            ignore_patterns=[glob.escape(file) for file in kept],
            folder_path=folder,
            commit_message=commit_message or "Upload a pipeline with dpnb",
            create_pr=create_pr,
            revision=revision,
        )
    return str(commit.pr_url if create_pr else commit.commit_url)


def _list_files(name: str, options: HubOptions) -> tuple[list[str], bool]:
    """All files of the repository, and whether they are those that the cache knows of."""
    from huggingface_hub import HfApi

    if options.local_files_only:
        return _list_cached(name, options), True
    api = HfApi(endpoint=options.endpoint, token=options.hub_token)
    try:
        found = api.model_info(name, revision=options.revision)
    except (TypeError, KeyError, AttributeError) as error:
        place = options.endpoint or HUGGING_FACE
        raise not_a_hub(place, f"facts about {name} that cannot be", "a JSON object") from error
    except Exception as error:
        if not is_unreachable(error):
            raise
        files = _list_cached(name, options)
        logger.warning("The hub cannot be reached; %s comes from the cache.", name)
        return files, True
    return [sibling.rfilename for sibling in found.siblings or ()], False


def _list_cached(name: str, options: HubOptions) -> list[str]:
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(name, revision=options.revision, cache_dir=options.cache_dir)
    except CachedRepoTreeNotFoundError:
        snapshot = Path(
            snapshot_download(
                name,
                revision=options.revision,
                cache_dir=options.cache_dir,
                local_files_only=True,
            )
        )
        return list_files(snapshot)
    return [file.path for file in tree]


def _download(name: str, files: Sequence[str], options: HubOptions, is_offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    is_forced = options.force_download and not is_offline
    known = list_blobs(options.cache_dir, name, "model")
    folder = Path(
        snapshot_download(
            name,
            revision=options.revision,
            cache_dir=options.cache_dir,
            force_download=is_forced,
            token=options.hub_token,
            local_files_only=is_offline,
            allow_patterns=[glob.escape(file) for file in files],
            endpoint=options.endpoint,
        )
    )
    if not is_offline:
        verify_blobs(name, [folder / file for file in files], frozenset() if is_forced else known)
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise HubError(not_cached(name, options.revision, f" ({missing[0]} is not there)"))
    return folder


@contextmanager
def use_proxies(proxies: Mapping[str, str] | None) -> Iterator[None]:
    """Send requests through `proxies`, by the variables that every HTTP client reads."""
    if not proxies:
        yield
        return
    from huggingface_hub import close_session

    with ExitStack() as undo:
        undo.callback(close_session)
        for scheme, address in proxies.items():
            variable = f"{scheme}_proxy"
            undo.callback(_set_variable, variable, os.environ.get(variable))
            _set_variable(variable, address)
        close_session()
        yield


def _set_variable(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
