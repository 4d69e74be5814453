from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import _tree_cache, hf_hub_download, set_client_factory
from huggingface_hub.utils import _http

from dpnb.emoji import FOLDER
from dpnb.errors import CheckpointError, HubError
from dpnb.loading.hub import HubOptions, fetch, fetch_file, local_folder, responses, upload_folder
from tests.hub_server import HubServer

pytestmark = pytest.mark.exhaustive

NAME = "someone/tiny"
FILES = {
    "model_index.json": b"{}",
    "README.md": b"not wanted",
    "unet/config.json": b'{"a": 1}',
    "unet/weights.safetensors": random.Random(0).randbytes(50_000),
    "odd/[name]*.json": b"{}",
}
WANTED = [name for name in FILES if name != "README.md"]


def wanted(files: Sequence[str]) -> list[str]:
    return [name for name in files if name != "README.md"]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def options(tmp_path: Path) -> HubOptions:
    return HubOptions(cache_dir=tmp_path / "cache")


def test_the_chosen_files_are_downloaded_and_no_others(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, FILES)
    folder = fetch(NAME, wanted, options)
    assert contents(folder) == {name: FILES[name] for name in WANTED}


def test_the_cache_has_the_hubs_own_layout(hub: HubServer, options: HubOptions) -> None:
    commit = hub.add(NAME, FILES).branches["main"]
    folder = fetch(NAME, wanted, options)
    repository = Path(str(options.cache_dir)) / "models--someone--tiny"
    assert folder == repository / "snapshots" / commit
    assert (repository / "refs" / "main").read_text() == commit


def test_files_in_the_cache_are_not_asked_for_again(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, FILES)
    first = fetch(NAME, wanted, options)
    hub.requests.clear()
    assert fetch(NAME, wanted, options) == first
    assert not [r for r in hub.requests if "/resolve/" in r.path]
    assert hub.fetched() == []


@pytest.mark.slow
def test_later_calls_fetch_only_what_is_lacking(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, FILES)
    fetch(NAME, lambda files: ["model_index.json"], options)
    hub.requests.clear()
    fetch(NAME, wanted, options)
    assert "model_index.json" not in hub.fetched()


@pytest.mark.slow
def test_a_forced_download_asks_again(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, FILES)
    fetch(NAME, wanted, options)
    hub.requests.clear()
    forced = HubOptions(cache_dir=options.cache_dir, force_download=True)
    fetch(NAME, wanted, forced)
    assert sorted(hub.fetched()) == sorted(WANTED)


@pytest.mark.slow
def test_a_revision_is_a_branch_or_a_commit(hub: HubServer, tmp_path: Path) -> None:
    old = hub.add(NAME, {"a.json": b"old"}).branches["main"]
    hub.add(NAME, {"a.json": b"branch"}, branch="fp16")
    hub.add(NAME, {"a.json": b"new"})
    for revision, text in (("main", b"new"), (None, b"new"), ("fp16", b"branch"), (old, b"old")):
        options = HubOptions(cache_dir=tmp_path, revision=revision)
        assert contents(fetch(NAME, list, options)) == {"a.json": text}


def test_an_update_of_the_repository_is_seen(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, {"a.json": b"old"})
    fetch(NAME, list, options)
    hub.add(NAME, {"a.json": b"new"})
    assert contents(fetch(NAME, list, options)) == {"a.json": b"new"}


def test_without_network_the_cached_copy_serves(
    hub: HubServer, options: HubOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, FILES)
    folder = fetch(NAME, wanted, options)
    offline = HubOptions(cache_dir=options.cache_dir, local_files_only=True)
    hub.requests.clear()
    assert fetch(NAME, wanted, offline) == folder
    assert hub.requests == []
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert fetch(NAME, wanted, options) == folder


@pytest.mark.slow
def test_a_failing_hub_is_as_none(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, FILES)
    folder = fetch(NAME, wanted, options)
    hub.failure = 500
    assert fetch(NAME, wanted, options) == folder
    with pytest.raises(HubError, match="not complete in the cache, and the hub was not"):
        fetch("someone/else", wanted, options)


def test_what_is_not_cached_is_an_error_without_network(
    hub: HubServer, options: HubOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, FILES)
    offline = HubOptions(cache_dir=options.cache_dir, local_files_only=True)
    with pytest.raises(HubError, match=r"someone/tiny at revision 'main' is not complete in the"):
        fetch(NAME, wanted, offline)
    fetch(NAME, lambda files: ["model_index.json"], options)
    with pytest.raises(HubError, match="is not complete in the cache"):
        fetch(NAME, wanted, offline)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="is not complete in the cache"):
        fetch(NAME, wanted, options)


@pytest.mark.slow
def test_a_token_is_sent_and_a_wrong_one_refused(hub: HubServer, tmp_path: Path) -> None:
    hub.add(NAME, FILES)
    hub.token = "secret"
    right = HubOptions(cache_dir=tmp_path, token="secret")
    assert contents(fetch(NAME, wanted, right)).keys() == set(WANTED)
    for token in ("wrong", False):
        refused = HubOptions(cache_dir=tmp_path / "other", token=token)
        with pytest.raises(HubError, match=r"refuses this token for someone/tiny \(status 401\)"):
            fetch(NAME, wanted, refused)


def test_private_gated_and_unknown_repositories_are_told_apart(
    hub: HubServer, options: HubOptions
) -> None:
    with pytest.raises(HubError, match="no repository someone/tiny, or it is private; check the"):
        fetch(NAME, list, options)
    repository = hub.add(NAME, FILES)
    repository.is_private = True
    with pytest.raises(HubError, match="or it is private"):
        fetch(NAME, list, options)
    repository.is_private, repository.is_gated = False, True
    with pytest.raises(HubError, match="someone/tiny is gated: accept its terms on the hub"):
        fetch(NAME, list, options)


def test_an_unknown_revision_is_named(hub: HubServer, tmp_path: Path) -> None:
    hub.add(NAME, FILES)
    options = HubOptions(cache_dir=tmp_path, revision="v9")
    with pytest.raises(HubError, match=r"someone/tiny has no revision 'v9'; give a branch"):
        fetch(NAME, list, options)


def test_a_cut_transfer_goes_on_where_it_stopped(
    hub: HubServer, options: HubOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.add(NAME, FILES)
    hub.cut_after, hub.cuts = 20_000, 1
    folder = fetch(NAME, wanted, options)
    assert contents(folder) == {name: FILES[name] for name in WANTED}
    assert hub.ranges() == ["bytes=20000-"]


@pytest.mark.slow
def test_a_connection_that_stays_cut_is_an_error_and_whole_files_are_kept(
    hub: HubServer, options: HubOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.add(NAME, FILES)
    fetch(NAME, lambda files: ["unet/config.json"], options)
    hub.cut_after, hub.cuts = 500, 1000
    with pytest.raises(HubError, match="connection to the hub failed while someone/tiny was fetch"):
        fetch(NAME, wanted, options)
    hub.cuts = 0
    hub.requests.clear()
    assert contents(fetch(NAME, wanted, options)) == {name: FILES[name] for name in WANTED}
    assert "unet/config.json" not in hub.fetched()


@pytest.mark.slow
def test_a_mirror_is_asked_in_place_of_the_hub_and_gets_no_stored_token(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "stored")
    hub.add(NAME, FILES)
    fetch(NAME, wanted, HubOptions(cache_dir=tmp_path, mirror=f"{hub.url}/"))
    assert not any("authorization" in request.headers for request in hub.requests)
    fetch(NAME, wanted, HubOptions(cache_dir=tmp_path / "2", mirror=hub.url, token="given"))
    sent = [request.headers.get("authorization") for request in hub.requests]
    assert set(sent) == {None, "Bearer given"}


@pytest.mark.slow
def test_requests_go_through_the_proxy_and_the_environment_is_put_back(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    hub.add(NAME, {"a.json": b"{}"})
    options = HubOptions(cache_dir=tmp_path, mirror="http://hub.invalid", proxies={"http": hub.url})
    assert contents(fetch(NAME, list, options)) == {"a.json": b"{}"}
    assert {request.headers["host"] for request in hub.requests} == {"hub.invalid"}
    assert os.environ["http_proxy"] == "http://127.0.0.1:9"


def test_what_is_uploaded_comes_back_byte_for_byte(
    hub: HubServer, options: HubOptions, tmp_path: Path
) -> None:
    for name, content in FILES.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(content)
    hub.token = "secret"
    address = upload_folder(
        tmp_path / "out", NAME, private=True, token="secret", commit_message="A first picture"
    )
    assert address.startswith(f"{hub.url}/{NAME}/commit/")
    assert hub.repositories[NAME].is_private
    reader = HubOptions(cache_dir=options.cache_dir, token="secret")
    assert contents(fetch(NAME, list, reader)) == FILES


def test_a_change_can_be_proposed_and_a_name_completed(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"new")
    hub.add("someone/tiny", {"a.json": b"old"})
    address = upload_folder(tmp_path, "tiny", token="t", create_pr=True)
    assert address == f"{hub.url}/someone/tiny/discussions/1"
    assert hub.repositories["someone/tiny"].files == {"a.json": b"old"}


def test_an_upload_that_is_refused_or_cut_off_says_so(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "secret"
    with pytest.raises(HubError, match="refuses this token for someone/tiny"):
        upload_folder(tmp_path, NAME, token="wrong")
    with pytest.raises(HubError, match="connection to the hub failed while someone/tiny"):
        upload_folder(tmp_path, NAME, token="t", mirror="http://127.0.0.1:9")


def test_folders_and_built_in_names_need_no_hub(tmp_path: Path) -> None:
    def never(files: Sequence[str]) -> Sequence[str]:
        raise AssertionError(files)

    assert fetch(tmp_path, never) == tmp_path
    assert fetch(str(tmp_path), never) == tmp_path
    assert local_folder("dpnb/emoji-64") == FOLDER
    assert fetch("dpnb/emoji-64", never) == FOLDER


def test_what_is_neither_a_folder_nor_a_repositorys_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(CheckpointError, match="is a file; give the folder that holds the model"):
        fetch(tmp_path / "file", list)
    with pytest.raises(ValueError, match="is neither an existing folder nor the name of a repo"):
        fetch("/no/such/folder", list)


def test_what_answers_but_is_no_hub_is_named(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, FILES)
    hub.hides_commits = True
    with pytest.raises(HubError, match="What answered for someone/tiny is not a hub; check mirror"):
        fetch(NAME, wanted, options)


# --- a hub that is hostile, broken, or busy ---


def forget_listings() -> None:
    """As a new process would not know them."""
    _tree_cache._IN_MEMORY_TREE_CACHE.clear()


HOSTILE_NAMES = [
    "../../../../x",
    "/etc/x",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "..\\x",
    "a" * 300,
    "a\x07b",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("header", ["ETag", "X-Linked-Etag", "X-Repo-Commit"])
def test_headers_that_lead_out_of_the_cache_are_refused(
    hub: HubServer, tmp_path: Path, header: str, name: str
) -> None:
    options = HubOptions(cache_dir=tmp_path / "deep" / "down" / "cache")
    hub.add(NAME, FILES)
    hub.headers = {header: f'"{name}"' if header.endswith("tag") else name}
    if header == "X-Linked-Etag" and not name:
        return
    with pytest.raises(HubError, match=f"What answered at {hub.url}/.* is not a hub: it sent"):
        fetch(NAME, wanted, options)
    assert not [file for file in contents(tmp_path) if not file.startswith("deep/down/cache/")]
    with pytest.raises(HubError, match="is not a hub"):
        fetch_file(NAME, ["unet/config.json"], options)


def test_a_file_that_is_not_there_leaves_nothing_outside_of_the_cache(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.add(NAME, FILES)
    hub.headers = {"X-Repo-Commit": "../../../../evil"}
    with pytest.raises(HubError, match="is not a hub"):
        fetch_file(NAME, ["nothing.json"], HubOptions(cache_dir=tmp_path / "a" / "b" / "c"))
    assert contents(tmp_path) == {}


COMMIT = "0" * 40
ENTRY = {"type": "file", "path": "a.json", "size": 2, "oid": COMMIT}
POINTER = {"oid": "0" * 64, "size": 2, "pointerSize": 100}


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "a\\..\\x", "a\0b", "", "a//b", "./a", None, 5, ["a"]]
)
def test_listings_that_lead_out_of_the_cache_are_refused(
    hub: HubServer, options: HubOptions, name: Any
) -> None:
    hub.add(NAME, FILES)
    hub.listing = json.dumps(
        {"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": name}]}
    ).encode()
    with pytest.raises(HubError, match="names, sizes or hashes of files that cannot be any"):
        fetch(NAME, list, options)
    hub.listing, hub.tree = None, json.dumps([{**ENTRY, "path": name}]).encode()
    with pytest.raises(HubError, match="names, sizes or hashes of files that cannot be any"):
        fetch(NAME, wanted, options)


@pytest.mark.parametrize(
    "change",
    [
        {"oid": "../../x"},
        {"oid": None},
        {"size": "large"},
        {"type": 5},
        {"lfs": {**POINTER, "oid": "../../../x"}},
        {"lfs": {**POINTER, "oid": 7}},
        {"lfs": {"oid": "0" * 64}},
        {"lfs": []},
    ],
)
def test_listings_with_hashes_that_are_none_are_refused(
    hub: HubServer, options: HubOptions, change: dict[str, Any]
) -> None:
    hub.add(NAME, FILES)
    hub.tree = json.dumps([{**ENTRY, **change}]).encode()
    with pytest.raises(HubError, match="names, sizes or hashes of files that cannot be any"):
        fetch(NAME, wanted, options)


@pytest.mark.parametrize("sha", ["../../x", "", None, 5, "a/b"])
def test_commits_that_are_none_are_refused(hub: HubServer, options: HubOptions, sha: Any) -> None:
    hub.add(NAME, FILES)
    hub.listing = json.dumps({"id": NAME, "sha": sha, "siblings": []}).encode()
    with pytest.raises(HubError, match="cannot be any where a JSON object about a repository is"):
        fetch(NAME, list, options)


ODD_ANSWERS = {
    "HTML": b"<!DOCTYPE html><title>Log in</title>",
    "null": b"null",
    "nothing": b"",
    "what is no JSON": b"\xff\xfe\x00",
    "the JSON value '5'": b"5",
    "the JSON value 'text'": b'"text"',
}


@pytest.mark.parametrize("found", ODD_ANSWERS)
def test_answers_that_are_no_listing_are_said_in_one_sentence(
    hub: HubServer, options: HubOptions, found: str
) -> None:
    hub.add(NAME, FILES)
    for place in ("listing", "tree"):
        setattr(hub, place, ODD_ANSWERS[found])
        with pytest.raises(HubError, match=f"{hub.url}/api/.* is not a hub: it sent {found} where"):
            fetch(NAME, wanted, options)
        setattr(hub, place, None)


def test_lists_for_objects_and_objects_for_lists_are_refused(
    hub: HubServer, options: HubOptions
) -> None:
    hub.add(NAME, FILES)
    hub.tree = b"{}"
    with pytest.raises(HubError, match="it sent a JSON object where a JSON list of files is due"):
        fetch(NAME, wanted, options)
    hub.listing = b"[]"
    with pytest.raises(HubError, match="it sent a JSON list where a JSON object about a repo"):
        fetch(NAME, wanted, options)
    hub.listing = b"[" * 100_000
    with pytest.raises(HubError, match="it sent what is no JSON where JSON is due"):
        fetch(NAME, wanted, options)
    facts = {"id": NAME, "sha": COMMIT, "siblings": [], "lastModified": 5, "safetensors": 3}
    hub.listing = json.dumps(facts).encode()
    with pytest.raises(HubError, match=f"{hub.url} is not a hub: it sent facts about {NAME}"):
        fetch(NAME, list, options)


@pytest.mark.parametrize("status", [201, 206, 300, 304])
def test_listings_of_an_odd_status_are_looked_at_as_well(
    hub: HubServer, options: HubOptions, status: int
) -> None:
    hub.add(NAME, FILES)
    hub.listing, hub.status = b"", status
    with pytest.raises(HubError, match="is not a hub: it sent nothing where JSON is due"):
        fetch(NAME, list, options)


@pytest.mark.parametrize("status", [400, 404, 418, 429, 503])
@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b"5",
        b'{"errors": 5}',
        b'{"errors": ["message"]}',
        b"[" * 10**5,
        b"\xff\xfe0",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_errors_that_say_nothing_are_said_in_one_sentence(
    hub: HubServer, options: HubOptions, status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.add(NAME, FILES)
    hub.failure, hub.error = status, body
    with pytest.raises(HubError, match=f"failed with status {status}, and with nothing that"):
        fetch(NAME, wanted, options)

    def fail(files: Sequence[str]) -> Sequence[str]:
        hub.failure = status
        return wanted(files)

    hub.failure = None
    with pytest.raises(HubError, match=f"failed with status {status}, and with nothing that"):
        fetch(NAME, fail, options)


def test_addresses_that_send_to_themselves_are_said_in_one_sentence(
    hub: HubServer, options: HubOptions
) -> None:
    def send_in_circles(files: Sequence[str]) -> Sequence[str]:
        hub.circles = True
        return wanted(files)

    hub.add(NAME, FILES)
    for select in (send_in_circles, wanted):
        with pytest.raises(HubError, match=f"{hub.url} sends from one address to another without"):
            fetch(NAME, select, options)


@pytest.mark.parametrize("garbles", [0, 1000])
def test_a_download_of_the_right_size_with_other_bytes_is_not_kept(
    hub: HubServer, options: HubOptions, garbles: int
) -> None:
    hub.add(NAME, FILES)
    hub.garbles = garbles
    with pytest.raises(HubError, match="came with other contents than the hub had announced"):
        fetch(NAME, wanted, options)
    with pytest.raises(HubError, match=r"1 files of someone/tiny, such as weights\.safetensors"):
        fetch_file(NAME, ["unet/weights.safetensors"], options)
    hub.garbles = None
    assert contents(fetch(NAME, wanted, options)) == {name: FILES[name] for name in WANTED}


@pytest.mark.slow
def test_what_the_cache_holds_is_not_read_again(hub: HubServer, options: HubOptions) -> None:
    """A file may be larger than memory: it is compared once, as it is downloaded."""
    hub.add(NAME, FILES)
    folder = fetch(NAME, wanted, options)
    blob = (folder / "unet/weights.safetensors").resolve()
    before = blob.stat().st_atime_ns
    os.utime(blob, ns=(before - 10**15, blob.stat().st_mtime_ns))
    fetch(NAME, wanted, options)
    assert blob.stat().st_atime_ns == before - 10**15


@pytest.mark.slow
def test_a_mirror_may_name_files_in_its_own_way(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, {"a.json": b"{}"})
    for etag in ('W/"5d41402abc4b2a76b9719d911017c592-1"', hashlib.sha1(b"{}").hexdigest()):
        hub.headers = {"ETag": etag}
        forced = HubOptions(cache_dir=options.cache_dir, force_download=True)
        assert contents(fetch(NAME, list, forced)) == {"a.json": b"{}"}


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_hub_is_told_of_at_each_try(
    hub: HubServer,
    options: HubOptions,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.add(NAME, FILES)

    def get_busy(files: Sequence[str]) -> list[str]:
        hub.failure, hub.busy = status, 3
        return wanted(files)

    pinned = HubOptions(
        cache_dir=options.cache_dir, revision=hub.repositories[NAME].branches["main"]
    )
    assert contents(fetch(NAME, get_busy, pinned)) == {name: FILES[name] for name in WANTED}
    own = [r.getMessage() for r in caplog.records if r.name == "dpnb.loading.hub.responses"]
    assert [text.partition("answered ")[2] for text in own] == [
        f"with status {status} for the {nth} time." for nth in ("first", "second", "third")
    ]


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "3600"}, {"RateLimit": '"api";r=0;t=3600'}, {"Retry-After": "25"}]
)
def test_a_hub_that_asks_to_wait_for_long_is_not_waited_for(
    hub: HubServer,
    options: HubOptions,
    headers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    hub.add(NAME, FILES)
    hub.failure, hub.headers = 429, headers
    with pytest.raises(HubError, match=r"429 for the \w+ time and asks to wait, \d+ s in all"):
        fetch_file(NAME, ["unet/config.json"], options)
    assert sum(slept) <= 62


def test_a_hub_that_is_busy_is_as_none_where_the_cache_serves(
    hub: HubServer, options: HubOptions
) -> None:
    hub.add(NAME, FILES)
    folder = fetch(NAME, wanted, options)
    hub.failure, hub.headers = 429, {"Retry-After": "3600"}
    assert fetch(NAME, wanted, options) == folder


@pytest.mark.slow
def test_a_hub_that_says_nothing_is_not_waited_for(
    options: HubOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "SILENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(HubError, match="not complete in the cache, and the hub was not"):
            fetch(NAME, list, HubOptions(cache_dir=options.cache_dir, mirror=address))


@pytest.mark.slow
def test_other_users_of_the_hubs_library_are_left_alone(hub: HubServer, tmp_path: Path) -> None:
    hub.add(NAME, FILES)
    fetch(NAME, wanted, HubOptions(cache_dir=tmp_path / "ours"))
    hub.headers = {"X-Repo-Commit": "a\\b"}
    file = hf_hub_download(NAME, "unet/config.json", cache_dir=tmp_path, endpoint=hub.url)
    assert Path(file).read_bytes() == FILES["unet/config.json"]


@pytest.mark.slow
def test_the_users_own_client_is_kept_and_looked_at_as_well(
    hub: HubServer, options: HubOptions
) -> None:
    asked: list[Any] = []
    former = _http._GLOBAL_CLIENT_FACTORY

    def make() -> Any:
        client = _http.default_client_factory()
        client.event_hooks["request"].append(asked.append)
        return client

    hub.add(NAME, FILES)
    set_client_factory(make)
    try:
        fetch(NAME, lambda files: ["README.md"], options)
        hub.headers = {"ETag": "../../x"}
        with pytest.raises(HubError, match="is not a hub"):
            fetch(NAME, wanted, options)
    finally:
        set_client_factory(former)
    assert asked


# --- a cache with holes ---


@pytest.mark.slow
@pytest.mark.parametrize("has_tree", [True, False])
def test_a_link_to_a_blob_that_is_gone_is_fetched_again_or_said_to_be_missing(
    hub: HubServer, options: HubOptions, has_tree: bool
) -> None:
    hub.add(NAME, FILES)
    folder = fetch(NAME, wanted, options)
    if not has_tree:
        shutil.rmtree(folder.parent.parent / "trees")
        forget_listings()
    (folder / "unet/config.json").resolve().unlink()
    offline = HubOptions(cache_dir=options.cache_dir, local_files_only=True)
    with pytest.raises(HubError, match="someone/tiny at revision 'main' is not complete in the ca"):
        fetch(NAME, wanted, offline)
    assert contents(fetch(NAME, wanted, options)) == {name: FILES[name] for name in WANTED}
    assert fetch(NAME, wanted, offline) == folder
