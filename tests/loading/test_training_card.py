"""Model cards of training scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpnb.loading.training_card import load_or_create_model_card, populate_model_card


def test_a_card_that_is_there_is_kept_and_gets_tags(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("---\nlicense: mit\ntags:\n- old\n---\n# Mine\n")
    card: Any = load_or_create_model_card(str(path))
    assert populate_model_card(card, tags="new") is card
    card.save(path)
    again: Any = load_or_create_model_card(str(path))
    assert again.data.to_dict() == {
        "license": "mit",
        "tags": ["old", "new"],
        "library_name": "diffusers",
    }
    assert "# Mine" in again.text
    changed = load_or_create_model_card(str(path), update_model_card=True, model_description="Hm.")
    assert "Hm." in changed.text
    assert "# Mine" not in changed.text
