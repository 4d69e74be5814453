"""Errors of huggingface_hub, each as one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from dpnb.errors import HubError, MissingFileError
from dpnb.loading.hub.http_client import http_client, http_error
from dpnb.loading.hub.responses import BUSY, BusyHubError

_SERVER_ERROR = 500


def is_unreachable(error: Exception) -> bool:
    """Whether `error` says that nobody answered or had the time, rather than that a hub refused."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return status in BUSY or status >= _SERVER_ERROR
    return isinstance(error, (http_error(), ConnectionError, BusyHubError))


@contextmanager
def explain_hub_errors(name: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub raises about the repository `name` into a `HubError`.

    Raises:
        HubError: see `_sentence`.
        MissingFileError: `name` is neither a folder nor the form of a repository's name.
    """
    from huggingface_hub.errors import (
        FileMetadataError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        yield
    except HFValidationError as error:
        raise MissingFileError(
            f"{name!r} is neither an existing folder nor the name of a repository; give a folder, "
            'or a name such as "owner/repository".'
        ) from error
    except (
        http_error(),
        ConnectionError,
        LocalEntryNotFoundError,
        FileMetadataError,
    ) as error:
        raise HubError(_sentence(error, name, revision)) from error
    except OSError as error:
        if "Consistency check failed" not in str(error):
            raise
        raise HubError(_connection_sentence(name)) from error


def _sentence(error: Exception, name: str, revision: str | None) -> str:
    from huggingface_hub.errors import (
        FileMetadataError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
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
        return _refusal_sentence(error.response.status_code, name)
    if isinstance(error, FileMetadataError) or isinstance(error.__cause__, FileMetadataError):
        return (
            f"What answered for {name} is not a hub; check mirror=, HF_ENDPOINT and proxies=, "
            "or give a local folder."
        )
    if isinstance(error, LocalEntryNotFoundError):
        return not_cached(name, revision, next(filter(None, map(_reason, _causes(error))), ""))
    if isinstance(error, OfflineModeIsEnabled):
        return not_cached(name, revision, " (HF_HUB_OFFLINE forbids it)")
    if isinstance(error, HfHubHTTPError):
        return (
            f"The hub failed with status {error.response.status_code} at {name}; "
            "try again in a while."
        )
    if isinstance(error, http_client().TooManyRedirects):
        return (
            f"What answered for {name}{_reason(error)} is not a hub; check mirror=, HF_ENDPOINT "
            "and proxies=, or give a local folder."
        )
    return _connection_sentence(name)


def not_cached(name: str, revision: str | None, reason: str = "") -> str:
    """The sentence that says that the cache lacks something of a repository."""
    return (
        f"{name} at revision {revision!r} is not complete in the cache, and the hub was not asked "
        f"or not reached{reason}; connect, drop local_files_only=True, or give a local folder."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(error: BaseException) -> str:
    """What happened at which address, in brackets; nothing where that is not known."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, BusyHubError):
        return f" ({str(error).partition(';')[0]})"
    if isinstance(error, HfHubHTTPError):
        place = urlsplit(str(error.response.url))
        return f" ({place.scheme}://{place.netloc} failed with status {error.response.status_code})"
    if isinstance(error, http_client().TooManyRedirects):
        place = urlsplit(str(error.request.url))
        return f" ({place.scheme}://{place.netloc} sends from one address to another without end)"
    return ""


def _refusal_sentence(status: int, name: str) -> str:
    if status in (401, 403):
        return (
            f"The hub refuses this token for {name} (status {status}); pass the token= of an "
            "account with the rights, or log in with `hf auth login`."
        )
    return f"The hub refuses the request for {name} (status {status}); check the arguments."


def _connection_sentence(name: str) -> str:
    return (
        f"The connection to the hub failed while {name} was fetched; try again: files that came "
        "whole are kept."
    )
