from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from dpnb.errors import CheckpointError
from dpnb.loading.model_card import CARD, make_card, read_connected_pipelines


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
