from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

import dpnb
from dpnb.emoji import FOLDER
from dpnb.pipelines.settings.model_identity import CHEAP, count_weight_bytes, describe_model


def test_the_model_inside_has_the_hash_of_its_weights() -> None:
    weights = FOLDER / "unet" / "diffusion_pytorch_model.safetensors"
    expected = hashlib.sha256(weights.read_bytes()).hexdigest()[:10]
    assert describe_model("dpnb/emoji-64") == ("dpnb/emoji-64", expected)


def test_folders_around_a_model_are_not_told(tmp_path: Path) -> None:
    folder = tmp_path / "secret" / "model"
    folder.mkdir(parents=True)
    assert describe_model(str(folder)) == ("model", None)
    assert describe_model(str(tmp_path / "gone")) == ("gone", None)
    assert describe_model("owner/name") == ("owner/name", None)
    assert describe_model(None) == (None, None)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.safetensors"
    with file.open("wb") as opened:
        opened.truncate(CHEAP + 1)
    assert describe_model(str(file)) == ("large.safetensors", None)


def test_the_name_of_a_blob_of_the_cache_is_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = "ab" * 32
    blob = tmp_path / "blobs" / digits
    blob.parent.mkdir()
    blob.touch()
    link = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    assert describe_model(str(tmp_path / "model")) == ("model", digits[:10])


def test_weights_are_counted_once() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    networks = [pipe.unet, pipe.vae, pipe.text_encoder]
    assert count_weight_bytes(pipe) == sum(
        t.nbytes for n in networks for t in (*n.parameters(), *n.buffers())
    )
