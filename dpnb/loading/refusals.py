"""What the hub's refusals mean: each of its errors as one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dpnb.errors import HubError

_SERVER_ERROR = 500


def is_unreachable(error: Exception) -> bool:
    """Whether `error` says that nobody answered, rather than that the hub refused."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= _SERVER_ERROR
    return isinstance(error, (_http_error(), ConnectionError))


@contextmanager
def explained(name: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub raises about the repository `name` into a `HubError`.

    Raises:
        HubError: see `_sentence`.
        ValueError: `name` is neither a folder nor the form of a repository's name.
    """
    from huggingface_hub.errors import (
        FileMetadataError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        yield
    except HFValidationError as error:
        raise ValueError(
            f"{name!r} is neither an existing folder nor the name of a repository; give a folder, "
            'or a name such as "owner/repository".'
        ) from error
    except (
        _http_error(),
        ConnectionError,
        LocalEntryNotFoundError,
        FileMetadataError,
    ) as error:
        raise HubError(_sentence(error, name, revision)) from error
    except OSError as error:
        if "Consistency check failed" not in str(error):
            raise
        raise HubError(_cut(name)) from error


def _http_error() -> type[Exception]:
    """The base of the errors of the HTTP client that this huggingface_hub uses."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(base for base in HfHubHTTPError.__bases__ if base is not OSError)


def _sentence(error: Exception, name: str, revision: str | None) -> str:
    from huggingface_hub.errors import (
        FileMetadataError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return (
            f"{name} is gated: accept its terms on the hub, then pass the token= of the account "
            "that did, or log in with `hf auth login`."
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{name} has no revision {revision!r}; give a branch, a tag or a commit of it."
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"The hub has no repository {name}, or it is private; check the name, or pass the "
            "token= of an account that may read it."
        )
    if isinstance(error, HfHubHTTPError) and not is_unreachable(error):
        return _refused(error.response.status_code, name)
    if isinstance(error, FileMetadataError) or isinstance(error.__cause__, FileMetadataError):
        return (
            f"What answered for {name} is not a hub; check mirror=, HF_ENDPOINT and proxies=, "
            "or give a local folder."
        )
    if isinstance(error, LocalEntryNotFoundError):
        return _not_cached(name, revision)
    if isinstance(error, HfHubHTTPError):
        return (
            f"The hub failed with status {error.response.status_code} at {name}; "
            "try again in a while."
        )
    return _cut(name)


def _refused(status: int, name: str) -> str:
    if status in (401, 403):
        return (
            f"The hub refuses this token for {name} (status {status}); pass the token= of an "
            "account with the rights, or log in with `hf auth login`."
        )
    return f"The hub refuses the request for {name} (status {status}); check the arguments."


def _not_cached(name: str, revision: str | None) -> str:
    return (
        f"{name} at revision {revision!r} is not complete in the cache, and the hub was not asked "
        "or not reached; connect, drop local_files_only=True, or give a local folder."
    )


def _cut(name: str) -> str:
    return (
        f"The connection to the hub failed while {name} was fetched; try again: files that came "
        "whole are kept."
    )
