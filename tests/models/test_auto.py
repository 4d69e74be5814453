"""A network of whichever class its settings name."""

from __future__ import annotations

from pathlib import Path

import pytest

import dpnb
from dpnb.errors import CheckpointError
from tests.strategies.pipes import build


def test_the_settings_name_the_class(tmp_path: Path) -> None:
    pipe = build("tiny-sd")
    pipe.save_pretrained(tmp_path)
    for name in ("unet", "vae", "text_encoder"):
        loaded = dpnb.AutoModel.from_pretrained(tmp_path, subfolder=name)
        assert type(loaded) is type(getattr(pipe, name))


def test_settings_without_a_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="does not say of which class"):
        dpnb.AutoModel.from_pretrained(tmp_path)


def test_it_is_none_to_build() -> None:
    with pytest.raises(TypeError, match=r"call AutoModel.from_pretrained\(...\)"):
        dpnb.AutoModel()
