from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from dpnb.errors import CheckpointError
from dpnb.loading.hub import HubOptions
from dpnb.loading.model_card import (
    CARD,
    MAX_CARD,
    fetch_card,
    make_card,
    read_card,
    read_connected_pipelines,
)
from tests.hub_server import HubServer


def card(folder: Path, facts: str) -> Path:
    (folder / CARD).write_text(f"---\n{facts}\n---\n\n# A model\n")
    return folder


def test_a_card_lists_the_components_and_is_one_to_the_hub() -> None:
    text = make_card("OwnPipeline", {"unet": "UNet2DConditionModel, 12 weights", "vae": "none"})
    facts: Any = ModelCard(text).data
    assert facts.to_dict() == {"library_name": "diffusers", "tags": ["dpnb"]}
    assert "# OwnPipeline" in text
    assert "| `unet` | UNet2DConditionModel, 12 weights |" in text


@pytest.mark.parametrize("facts", ["prior:\n- some/prior", "prior: some/prior"])
def test_a_card_names_the_pipeline_that_completes_another(tmp_path: Path, facts: str) -> None:
    assert read_connected_pipelines(card(tmp_path, facts)) == {"prior": "some/prior"}


@pytest.mark.parametrize("facts", ["license: mit", "prior: []", "prior:"])
def test_most_cards_name_none(tmp_path: Path, facts: str) -> None:
    assert read_connected_pipelines(card(tmp_path, facts)) == {}


def test_a_folder_without_a_card_names_none(tmp_path: Path) -> None:
    assert read_connected_pipelines(tmp_path) == {}
    (tmp_path / CARD).write_text("no facts")
    assert read_connected_pipelines(tmp_path) == {}


@pytest.mark.parametrize(
    "named", ["../../etc/passwd", "/etc/passwd", "plain", "a/b/c", "3", "{a: b}", "'a/b\\\\c'"]
)
def test_what_is_no_repository_is_refused(tmp_path: Path, named: str) -> None:
    with pytest.raises(CheckpointError, match="which is no repository's name") as caught:
        read_connected_pipelines(card(tmp_path, f"prior: {named}"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("facts", ["prior: [", "- a\n- b", "\t: x"])
def test_a_damaged_card_is_said_in_one_sentence(tmp_path: Path, facts: str) -> None:
    with pytest.raises(CheckpointError, match="no model card that can be read") as caught:
        read_connected_pipelines(card(tmp_path, facts))
    assert "\n" not in str(caught.value)


def test_a_card_is_read_from_its_folder(tmp_path: Path) -> None:
    assert read_card(tmp_path) == ""
    card(tmp_path, "license: mit")
    assert read_card(tmp_path).endswith("# A model\n")
    assert fetch_card(str(tmp_path), HubOptions()) == read_card(str(tmp_path))


def test_a_card_that_may_not_be_read_is_none(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.md", tmp_path / "model"
    outside.write_text("secret")
    folder.mkdir()
    (folder / CARD).symlink_to(outside)
    assert read_card(folder) == ""
    (folder / CARD).unlink()
    (folder / CARD).write_bytes(b"\xff\xfe\xff")
    assert read_card(folder) == ""
    (folder / CARD).write_text("a" * (MAX_CARD + 1))
    assert read_card(folder) == ""
    assert [read_card(name) for name in (outside, "no name", "a/b/c")] == [""] * 3


def test_of_a_repository_the_card_is_read_that_the_cache_holds(hub: HubServer) -> None:
    hub.add("someone/with-card", {CARD: b"# With"})
    assert read_card("someone/with-card") == ""
    assert hub.requests == []
    assert fetch_card("someone/with-card", HubOptions()) == "# With"
    asked = len(hub.requests)
    assert read_card("someone/with-card") == "# With"
    assert len(hub.requests) == asked


def test_a_card_that_the_hub_does_not_give_is_none(hub: HubServer) -> None:
    hub.add("someone/without", {"a.txt": b"a"})
    names = ("someone/without", "someone/nobody")
    assert [fetch_card(name, HubOptions()) for name in names] == ["", ""]
    hub.failure = 500
    assert fetch_card("someone/without", HubOptions(force_download=True)) == ""
