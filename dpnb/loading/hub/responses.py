"""The HTTP responses of a hub, checked before huggingface_hub acts on them.

huggingface_hub makes paths of a response's ETag and commit, asks again for as long as a hub says,
and waits for a body however slowly it comes. Its clients get hooks from here, which do nothing but
while files are fetched by us.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dpnb.errors import HubError
from dpnb.loading.filenames import is_bare
from dpnb.loading.hub.response_body import guard_body

logger = logging.getLogger(__name__)

BUSY = (408, 429, 500, 502, 503, 504)
"""The statuses with which huggingface_hub asks again."""

LONGEST_WAIT_S = 60
"""For all of a fetch together."""

SILENCE_S = 10
"""So long a server may say nothing at all, where huggingface_hub gives no limit."""

MOST_PAGES = 1000

MOST_BYTES = 64 << 20
"""Of a page of a listing, and of an error."""

_ERROR = 400
_BACKOFF_S = 8
_LONGEST_NAME = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RATE_LIMIT = re.compile(r".*;\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,9})\b.*")
_RETRY_AFTER = re.compile(r"\s*(\d{1,9})\s*")


class BusyHubError(HubError):
    """A hub is out of order, or asks to be left alone for longer than we wait."""


@dataclass
class ResponseCheck:
    """The responses of the hubs during one fetch."""

    tries: Counter[str] = field(default_factory=Counter)
    waited: int = 0
    pages: int = 0

    def check(self, response: Any) -> None:
        """Check a response of the HTTP client.

        Raises:
            HubError: it is none that a hub gives.
            BusyHubError: it asks to wait for too long.
        """
        address, status = _address(response), response.status_code
        _check_names(response, address)
        is_listing = _is_listing(response) and not response.has_redirect_location
        guard_body(response, address, MOST_BYTES if is_listing or status >= _ERROR else None)
        if status in BUSY:
            self._check_busy(response, address)
        if status >= _ERROR:
            _check_error(response, address)
        elif is_listing:
            self._check_listing(response, address)

    def _check_busy(self, response: Any, address: str) -> None:
        self.tries[address] += 1
        count = self.tries[address]
        wait = _requested_wait(response.headers)
        self.waited += min(2 ** (count - 1), _BACKOFF_S) if wait is None else wait
        if self.waited > LONGEST_WAIT_S:
            raise BusyHubError(
                f"{address} answered with status {response.status_code} for the "
                f"{_ordinal(count)} time and asks to wait, {self.waited} s in all; try again later."
            )
        logger.warning(
            "%s answered with status %d for the %s time.",
            address,
            response.status_code,
            _ordinal(count),
        )

    def _check_listing(self, response: Any, address: str) -> None:
        self.pages += 1
        if self.pages > MOST_PAGES:
            raise not_a_hub(address, f"more than {MOST_PAGES} pages", "a list of files")
        is_tree = "/tree/" in urlsplit(str(response.url)).path
        content: Any = _json(response.read(), address)
        due = "a JSON list of files" if is_tree else "a JSON object about a repository"
        if type(content) is not (list if is_tree else dict):
            raise not_a_hub(address, _kind(content), due)
        if not (all(map(_is_entry, content)) if is_tree else _is_repository(content)):
            raise not_a_hub(address, "names, sizes or hashes of files that cannot be any", due)


@contextmanager
def check_responses() -> Iterator[None]:
    """Within it the responses of hubs are checked; see `ResponseCheck.check` for what is raised."""
    check = ResponseCheck()
    with _lock:
        _install_hooks()
        _checks.append(check)
    try:
        yield
    finally:
        with _lock:
            _checks.remove(check)


def not_a_hub(address: str, found: str, due: str) -> HubError:
    """The error that says that what answered at an address is no hub."""
    return HubError(
        f"What answered at {address} is not a hub: it sent {found} where {due} is due; check "
        "mirror=, HF_ENDPOINT and proxies=, or give a local folder."
    )


# huggingface_hub has one client for all threads of the process, and so have its hooks one list.
_lock = threading.Lock()
_checks: list[ResponseCheck] = []


@dataclass(frozen=True)
class _ClientFactory:
    """Makes the clients that `make` makes, with our hooks."""

    make: Callable[[], Any]

    def __call__(self) -> Any:
        client = self.make()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], _on_request],
            "response": [*hooks["response"], _on_response],
        }
        return client


def _install_hooks() -> None:
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import _http

    # There is no public way to ask for the factory, which may be the user's own.
    former = _http._GLOBAL_CLIENT_FACTORY
    if not isinstance(former, _ClientFactory):
        set_client_factory(_ClientFactory(former))


def _on_request(request: Any) -> None:
    if _checks and request.method in ("GET", "HEAD"):
        limits = request.extensions.get("timeout", {})
        kinds = ("connect", "read", "write", "pool")
        given = {kind: limits.get(kind) or SILENCE_S for kind in kinds}
        request.extensions = {**request.extensions, "timeout": given}


def _on_response(response: Any) -> None:
    for current in _checks[:1]:
        current.check(response)


def _check_names(response: Any, address: str) -> None:
    """Refuse what would become part of a path in the cache and cannot be one."""
    headers = response.headers
    names = {"X-Repo-Commit": headers.get("X-Repo-Commit")}
    if response.request.method == "HEAD":
        given = headers.get("X-Linked-Etag") or headers.get("ETag")
        names["ETag"] = given and given.removeprefix("W/").strip('"')
    for header, name in names.items():
        if name is not None and not _is_name(name):
            raise not_a_hub(address, f"{name[:80]!r} as {header}", "the name of a file's content")


def _check_error(response: Any, address: str) -> None:
    """Refuse an error whose body huggingface_hub stumbles over; any text is none of these."""
    try:
        content = json.loads(response.read())
        errors = content.get("errors") or []
        is_readable = isinstance(errors, list) and all(isinstance(one, dict) for one in errors)
    except json.JSONDecodeError:
        is_readable = True
    except (ValueError, RecursionError, AttributeError):
        is_readable = False
    if not is_readable:
        kind = BusyHubError if response.status_code in BUSY else HubError
        raise kind(
            f"{address} failed with status {response.status_code}, and with nothing that explains "
            "it; try again, or check mirror=, HF_ENDPOINT and proxies=."
        )


def _is_name(name: object) -> bool:
    is_plain = is_bare(name) and isinstance(name, str) and name.isprintable()
    return is_plain and len(str(name)) <= _LONGEST_NAME


def _is_listing(response: Any) -> bool:
    path = urlsplit(str(response.url)).path
    return response.request.method == "GET" and "/api/" in path and "/resolve/" not in path


def _is_repository(content: Any) -> bool:
    files = content.get("siblings") or []
    return _is_name(content.get("sha")) and (
        isinstance(files, list)
        and all(isinstance(file, dict) and _is_path(file.get("rfilename")) for file in files)
    )


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not _is_path(entry.get("path")):
        return False
    if entry.get("type") != "file":
        return entry.get("type") == "directory" and isinstance(entry.get("oid"), str)
    large = entry.get("lfs")
    return (
        isinstance(entry.get("size"), int)
        and _is_name(entry.get("oid"))
        and (large is None or (isinstance(large, dict) and _is_pointer(large)))
    )


def _is_pointer(large: dict[str, Any]) -> bool:
    sizes = (large.get("size"), large.get("pointerSize"))
    is_hash = isinstance(large.get("oid"), str) and _SHA256.fullmatch(large["oid"]) is not None
    return is_hash and all(isinstance(size, int) for size in sizes)


def _is_path(name: object) -> bool:
    """Whether it is a file's name with `/`, which cannot lead out of the folder."""
    return isinstance(name, str) and all(map(is_bare, name.split("/")))


def _json(content: bytes, address: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        is_page = content.lstrip()[:1] == b"<"
        found = "HTML" if is_page else "nothing" if not content else "what is no JSON"
        raise not_a_hub(address, found, "JSON") from error


def _kind(content: object) -> str:
    kinds = {dict: "a JSON object", list: "a JSON list", type(None): "null"}
    return kinds.get(type(content), f"the JSON value {str(content)[:40]!r}")


def _requested_wait(headers: Any) -> int | None:
    """The seconds for which a hub asks to wait."""
    for header, form in (("ratelimit", _RATE_LIMIT), ("retry-after", _RETRY_AFTER)):
        match = form.fullmatch(headers.get(header, ""))
        if match is not None:
            return int(match[1])
    return None


def _address(response: Any) -> str:
    parts = urlsplit(str(response.url))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _ordinal(count: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")
