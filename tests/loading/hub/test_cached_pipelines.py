from __future__ import annotations

from pathlib import Path

from dpnb.loading.hub import HubOptions, fetch, list_cached_pipelines
from tests.hub_server import HubServer

INSIDE = ("dpnb/emoji-64",)


def test_pipelines_of_the_cache_are_listed_and_nothing_else(hub: HubServer, tmp_path: Path) -> None:
    options = HubOptions(cache_dir=tmp_path)
    for name, file in (
        ("someone/pipeline", "model_index.json"),
        ("another/pipeline", "model_index.json"),
        ("someone/network", "config.json"),
        ("someone/nested", "older/model_index.json"),
    ):
        hub.add(name, {file: b"{}"})
        fetch(name, lambda files: files, options)
    assert list_cached_pipelines(tmp_path) == (*INSIDE, "another/pipeline", "someone/pipeline")


def test_without_a_cache_there_is_what_is_inside(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert list_cached_pipelines(tmp_path / "nowhere") == list_cached_pipelines(file) == INSIDE
