"""A small Hugging Face hub on the loopback interface: what huggingface_hub asks of the real one."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 1000
"""Files from this many bytes on are large files, served after a redirect as the hub does."""


@dataclass
class Repository:
    """Commits by hash, each all its files, and branches by name."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    is_private: bool = False
    is_gated: bool = False

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Make `files` the whole content of `branch`; the commit's hash."""
        content = json.dumps([[n, hashlib.sha1(b).hexdigest()] for n, b in sorted(files.items())])
        commit = hashlib.sha1(f"{len(self.commits)}{content}".encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch or hash names."""
        commit = self.branches.get(revision, revision)
        return commit if commit in self.commits else None

    @property
    def files(self) -> dict[str, bytes]:
        """What the branch main holds."""
        return self.commits[self.branches["main"]]


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""


@dataclass
class HubServer:
    """A running hub: its repositories, what it was asked, and how it is to misbehave.

    Attributes:
        url: Its address, for `HF_ENDPOINT` or `mirror=`.
        token: Clients must send this one; `None` lets everybody in.
        failure: A status with which every request fails.
        hides_commits: Leave out the header by which a hub is known.
        cut_after: Bytes of a body after which the connection is cut, `cuts` times in all.
        busy: So many requests more are answered with `failure` alone.
        headers: Of every answer, in place of its own.
        error: The body of every failure.
        listing: The answer to every question about a repository.
        status: Of that answer.
        tree: Likewise to those for its files; `listing` by default.
        garbles: Files of so many bytes or more come with other bytes than they have.
        circles: Every address sends to itself.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    token: str | None = None
    failure: int | None = None
    hides_commits: bool = False
    cut_after: int | None = None
    cuts: int = 0
    busy: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    error: bytes | None = None
    listing: bytes | None = None
    status: int = 200
    tree: bytes | None = None
    garbles: int | None = None
    circles: bool = False

    @property
    def storage(self) -> str:
        """The address that large files are sent to: as with the real hub, another host."""
        return self.url.replace("127.0.0.1", "localhost")

    def add(self, name: str, files: Mapping[str, bytes] | Path, branch: str = "main") -> Repository:
        """Serve `files`, or all of a folder, as the repository `name`.

        The name of a data set begins with `datasets/`.
        """
        if isinstance(files, Path):
            files = {
                path.relative_to(files).as_posix(): path.read_bytes()
                for path in files.rglob("*")
                if path.is_file()
            }
        repository = self.repositories.setdefault(name, Repository())
        repository.commit(files, branch)
        return repository

    def fetched(self) -> list[str]:
        """The files whose content was asked for, in order."""
        paths = [request.path.split("/") for request in self.requests if request.method == "GET"]
        return [
            "/".join(path[5:]) for path in paths if path[1] == "storage" or path[3:4] == ["resolve"]
        ]

    def ranges(self) -> list[str]:
        """The byte ranges that were asked for."""
        return [r.headers["range"] for r in self.requests if "range" in r.headers]


@contextmanager
def serve() -> Iterator[HubServer]:
    """A hub on a free port of this machine until the block ends."""
    hub = HubServer()

    class BoundHandler(_Handler):
        server_state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), BoundHandler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_state: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server_state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        hub.requests.append(Request(self.command, path, headers))
        parts = path.strip("/").split("/")
        if hub.circles:
            self._send(302, b"", {"Location": f"{hub.url}{self.path}"})
        elif hub.failure is not None and hub.busy != 0:
            hub.busy = None if hub.busy is None else hub.busy - 1
            self._refuse(hub.failure, "", "out of order")
        elif parts[0] == "storage":
            self._serve_storage(parts, body)
        elif hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif parts[:2] == ["api", "repos"]:
            self._create(json.loads(body))
        elif parts[:2] == ["api", "validate-yaml"]:
            self._send_json({"errors": [], "warnings": []})
        elif parts[:2] == ["api", "models"]:
            self._serve_api("/".join(parts[2:4]), parts[4:], body)
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._offer_uploads(json.loads(body))
        elif "resolve" in parts:
            at = parts.index("resolve")
            self._serve_file("/".join(parts[:at]), parts[at + 1], "/".join(parts[at + 2 :]))
        else:
            self._refuse(404, "", f"no such page: {path}")

    def _repository(self, name: str) -> Repository | None:
        repository = self.server_state.repositories.get(name)
        if repository is None or (repository.is_private and "Authorization" not in self.headers):
            self._refuse(404, "RepoNotFound", "Repository not found")
            return None
        if repository.is_gated:
            self._refuse(403, "GatedRepo", f"Access to model {name} is restricted")
            return None
        return repository

    def _serve_api(self, name: str, rest: list[str], body: bytes) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        action, revision = (*rest, "main", "main")[:2] if rest else ("revision", "main")
        if action == "preupload":
            self._choose_modes(json.loads(body))
            return
        if action == "commit":
            self._commit(name, repository, revision, body)
            return
        commit = repository.resolve(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = repository.commits[commit]
        made_up = self.server_state.listing
        if action == "tree" and self.server_state.tree is not None:
            made_up = self.server_state.tree
        if made_up is not None:
            self._send(self.server_state.status, made_up, {"Content-Type": "text/html"})
            return
        if action == "tree":
            self._send_json([_tree_entry(path, content) for path, content in files.items()])
            return
        siblings = [{"rfilename": path} for path in files]
        info = {"_id": name, "id": name, "modelId": name, "sha": commit, "siblings": siblings}
        self._send_json({**info, "private": repository.is_private, "tags": [], "downloads": 0})

    def _serve_file(self, name: str, revision: str, path: str) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        commit = repository.resolve(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        content = repository.commits[commit].get(path)
        if content is None:
            self._refuse(404, "EntryNotFound", f"Entry not found: {path}")
            return
        is_large = len(content) >= LARGE
        digest = hashlib.sha256(content).hexdigest() if is_large else git_hash(content)
        headers = {} if self.server_state.hides_commits else {"X-Repo-Commit": commit}
        if not is_large:
            self._send_content(content, {**headers, "ETag": f'"{digest}"'})
            return
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        headers["Location"] = f"{self.server_state.storage}/storage/{name}/{commit}/{path}"
        self._send(302, b"", headers)

    def _serve_storage(self, parts: list[str], body: bytes) -> None:
        hub = self.server_state
        if self.command == "PUT":
            hub.uploads[parts[-1]] = body
            self._send(200, b"", {})
            return
        at = 4 if parts[1] == "datasets" else 3
        repository = hub.repositories["/".join(parts[1:at])]
        self._send_content(repository.commits[parts[at]]["/".join(parts[at + 1 :])], {})

    def _send_content(self, content: bytes, headers: Mapping[str, str]) -> None:
        asked = self.headers.get("Range", "")
        if self.server_state.garbles is not None and len(content) >= self.server_state.garbles:
            content = bytes(255 - byte for byte in content)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        if asked:
            start, stop = int(first), min(int(last) + 1 if last else len(content), len(content))
            span = f"bytes {start}-{stop - 1}/{len(content)}"
            self._send(206, content[start:stop], {**headers, "Content-Range": span})
        else:
            self._send(200, content, headers)

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted.get('organization') or 'someone'}/{wanted['name']}"
        exists = name in self.server_state.repositories
        if not exists:
            repository = self.server_state.add(name, {})
            repository.is_private = "private" in (wanted.get("visibility"), *wanted)
        url = f"{self.server_state.url}/{name}"
        self._send_json({"url": url, "name": name, "id": name}, 409 if exists else 200)

    def _choose_modes(self, asked: dict[str, Any]) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] >= LARGE else "regular",
                "shouldIgnore": False,
            }
            for file in asked["files"]
        ]
        self._send_json({"files": files, "commitOid": None})

    def _offer_uploads(self, asked: dict[str, Any]) -> None:
        url = f"{self.server_state.url}/storage/uploads"
        objects = [
            {**item, "actions": {"upload": {"href": f"{url}/{item['oid']}"}}}
            for item in asked["objects"]
        ]
        self._send_json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repository: Repository, revision: str, body: bytes) -> None:
        branch = "refs/pr/1" if "create_pr=1" in self.path else revision
        files = dict(repository.commits.get(repository.branches.get(revision, ""), {}))
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server_state.uploads[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        commit = repository.commit(files, branch)
        url = f"{self.server_state.url}/{name}"
        answer = {"success": True, "commitOid": commit, "commitUrl": f"{url}/commit/{commit}"}
        if branch.startswith("refs/pr/"):
            answer["pullRequestUrl"] = f"{url}/discussions/1"
        self._send_json(answer)

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        usual = json.dumps({"error": message}).encode()
        body = self.server_state.error
        self._send(status, usual if body is None else body, headers)

    def _send_json(self, values: object, status: int = 200) -> None:
        self._send(status, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        headers = {**headers, **self.server_state.headers}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        hub = self.server_state
        is_content = status in (200, 206) and "Content-Type" not in headers
        if is_content and hub.cuts and hub.cut_after is not None and len(body) > hub.cut_after:
            hub.cuts -= 1
            self.close_connection = True
            body = body[: hub.cut_after]
        self.wfile.write(body)


def git_hash(content: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _tree_entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file",
        "path": path,
        "size": len(content),
        "oid": git_hash(content),
    }
    if len(content) >= LARGE:
        oid = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
    return entry
