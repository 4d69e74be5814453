from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from dpnb.emoji import FOLDER
from dpnb.errors import CheckpointError, HubError
from dpnb.loading.hub import HubOptions, fetch, local_folder, push
from tests.hub_server import HubServer

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


def test_later_calls_fetch_only_what_is_lacking(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, FILES)
    fetch(NAME, lambda files: ["model_index.json"], options)
    hub.requests.clear()
    fetch(NAME, wanted, options)
    assert "model_index.json" not in hub.fetched()


def test_a_forced_download_asks_again(hub: HubServer, options: HubOptions) -> None:
    hub.add(NAME, FILES)
    fetch(NAME, wanted, options)
    hub.requests.clear()
    forced = HubOptions(cache_dir=options.cache_dir, force_download=True)
    fetch(NAME, wanted, forced)
    assert sorted(hub.fetched()) == sorted(WANTED)


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
    address = push(
        tmp_path / "out", NAME, private=True, token="secret", commit_message="A first picture"
    )
    assert address.startswith(f"{hub.url}/{NAME}/commit/")
    assert hub.repositories[NAME].is_private
    reader = HubOptions(cache_dir=options.cache_dir, token="secret")
    assert contents(fetch(NAME, list, reader)) == FILES


def test_a_change_can_be_proposed_and_a_name_completed(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"new")
    hub.add("someone/tiny", {"a.json": b"old"})
    address = push(tmp_path, "tiny", token="t", create_pr=True)
    assert address == f"{hub.url}/someone/tiny/discussions/1"
    assert hub.repositories["someone/tiny"].files == {"a.json": b"old"}


def test_an_upload_that_is_refused_or_cut_off_says_so(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "secret"
    with pytest.raises(HubError, match="refuses this token for someone/tiny"):
        push(tmp_path, NAME, token="wrong")
    with pytest.raises(HubError, match="connection to the hub failed while someone/tiny"):
        push(tmp_path, NAME, token="t", mirror="http://127.0.0.1:9")


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
