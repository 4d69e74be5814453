from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dpnb.errors import CheckpointError
from dpnb.loading.model_index import ModelIndex

INDEX = ModelIndex(
    class_name="StableDiffusionPipeline",
    components={
        "unet": ("diffusers", "UNet2DConditionModel"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "safety_checker": None,
    },
    settings={"requires_safety_checker": False, "sizes": [1, 2, 3]},
)


def written(folder: Path, values: Any) -> Path:
    (folder / ModelIndex.file_name).write_text(json.dumps(values))
    return folder


def test_reading_undoes_writing(tmp_path: Path) -> None:
    INDEX.write(tmp_path)
    assert ModelIndex.read(tmp_path) == INDEX


def test_the_file_is_the_one_that_diffusers_writes(tmp_path: Path) -> None:
    INDEX.write(tmp_path)
    text = (tmp_path / "model_index.json").read_text()
    values = json.loads(text)
    assert text == json.dumps(values, indent=2, sort_keys=True) + "\n"
    assert values == {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "safety_checker": [None, None],
        "requires_safety_checker": False,
        "sizes": [1, 2, 3],
    }


def test_the_class_of_a_custom_pipeline_is_kept_as_data(tmp_path: Path) -> None:
    index = ModelIndex(("my_pipeline", "MyPipeline"), {"unet": ("my_unet", "MyUNet")})
    index.write(tmp_path)
    assert ModelIndex.read(tmp_path) == index


def test_private_entries_are_not_settings(tmp_path: Path) -> None:
    values = {"_class_name": "P", "_name_or_path": "x", "_ignore_files": ["unet/extra.bin"]}
    index = ModelIndex.read(written(tmp_path, values))
    assert index == ModelIndex("P", {}, {}, ignored=("unet/extra.bin",))


@pytest.mark.parametrize("name", ["../unet", "/etc", "a/b", "..", "", "un et", "a.b"])
def test_a_component_cannot_name_a_path(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path, {"_class_name": "P", name: ["diffusers", "UNet2DConditionModel"]})
    with pytest.raises(CheckpointError, match="is not a plain name of a folder; do not trust"):
        ModelIndex.read(folder)


@pytest.mark.parametrize("entry", [[None, "A"], ["diffusers", None], ["", "A"]])
def test_half_an_entry_is_refused(tmp_path: Path, entry: list[str | None]) -> None:
    folder = written(tmp_path, {"_class_name": "P", "unet": entry})
    with pytest.raises(CheckpointError, match="it takes a library and a class, or two nulls"):
        ModelIndex.read(folder)


@pytest.mark.parametrize("value", [None, "", 3, ["a"], ["a", 3], {"a": 1}])
def test_an_index_without_a_class_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(CheckpointError, match="names no pipeline class in _class_name"):
        ModelIndex.read(written(tmp_path, {"_class_name": value}))


def test_files_that_are_no_index_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no model_index\.json; give the folder"):
        ModelIndex.read(tmp_path)
    (tmp_path / ModelIndex.file_name).write_text("{")
    with pytest.raises(CheckpointError, match="is not valid JSON"):
        ModelIndex.read(tmp_path)
    with pytest.raises(CheckpointError, match="does not hold a JSON object"):
        ModelIndex.read(written(tmp_path, []))
