"""Checkpoints are planned for by their settings and the headers of their weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import dpnb
from dpnb.errors import CheckpointError, ForeignCodeError, HubError
from dpnb.loading.headers import headers
from dpnb.planning.hollow import Hollow
from dpnb.planning.outline import outline
from dpnb.planning.planner import plan
from tests.hub_server import HubServer

SIZE: dict[str, Any] = {"height": 32, "width": 32, "steps": 2, "device": "RTX 3060"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("model")
    dpnb.random_pipeline("tiny-sdxl", dtype="bfloat16").save_pretrained(target)
    return target


def shapes(pipe: Any) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {
        f"{name}.{key}": (value.shape, value.dtype)
        for name, part in pipe.components.items()
        if isinstance(part, torch.nn.Module)
        for key, value in part.state_dict().items()
    }


def test_a_folder_has_the_shapes_and_dtypes_of_what_would_be_loaded(folder: Path) -> None:
    loaded = dpnb.DiffusionPipeline.from_pretrained(folder, dtype="auto")
    assert shapes(outline(folder, Hollow())) == shapes(loaded)
    assert shapes(outline(folder, Hollow(), "float16")) == shapes(loaded.to(torch.float16))


def test_of_a_repository_only_small_files_and_headers_are_fetched(
    hub: HubServer, folder: Path
) -> None:
    hub.add("someone/model", folder)
    table = plan("someone/model", **SIZE)
    assert [row.peaks for row in table] == [row.peaks for row in plan(folder, **SIZE)]
    weights = [file for file in hub.fetched() if file.endswith(".safetensors")]
    assert weights
    asked = [r for r in hub.requests if r.method == "GET" and "safetensors" in r.path]
    assert all("range" in request.headers for request in asked)
    ends = [int(span.partition("-")[2]) for span in hub.ranges()]
    assert max(ends) <= 100_000


def test_a_header_that_disagrees_with_the_settings_is_refused(folder: Path, tmp_path: Path) -> None:
    for source in (p for p in folder.rglob("*") if p.is_file()):
        target = tmp_path / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    file = tmp_path / "text_encoder_2" / "model.safetensors"
    weights = load_file(file)
    name = next(key for key in weights if key.endswith("fc1.weight"))
    save_file({**weights, name: torch.zeros(3, 32)}, file)
    with pytest.raises(CheckpointError, match=r"fc1.weight has shape \(3, 32\)"):
        plan(tmp_path, **SIZE)
    config = tmp_path / "unet" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "cross_attention_dim": 32}))
    with pytest.raises(CheckpointError, match="where the settings give"):
        outline(tmp_path, Hollow())


def test_a_damaged_header_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match="has no safetensors header"):
        headers(tmp_path, ["model.safetensors"])
    (tmp_path / "model.safetensors").write_bytes((4).to_bytes(8, "little") + b"oops")
    with pytest.raises(CheckpointError, match="is damaged"):
        headers(tmp_path, ["model.safetensors"])


def test_a_repository_that_is_not_there_is_said_to_be_missing(hub: HubServer) -> None:
    with pytest.raises(HubError, match="someone/nothing"):
        plan("someone/nothing", **SIZE)


def test_weights_that_two_layers_share_are_one(tmp_path: Path) -> None:
    dpnb.random_pipeline("tiny-flux").save_pretrained(tmp_path)
    loaded = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    pipes: list[Any] = [outline(tmp_path, Hollow()), outline("tiny-flux", Hollow()), loaded]
    for made in pipes:
        encoder = made.text_encoder_2
        assert encoder.shared.weight is encoder.encoder.embed_tokens.weight
        assert shapes(made) == shapes(loaded)


def test_what_loading_keeps_in_float32_is_planned_so(tmp_path: Path) -> None:
    """transformers does so with layers of T5 that overflow in float16."""
    dpnb.random_pipeline("tiny-flux").save_pretrained(tmp_path)
    loaded: Any = dpnb.DiffusionPipeline.from_pretrained(tmp_path, dtype="float16")
    kinds = {p.dtype for p in loaded.text_encoder_2.parameters()}
    assert kinds == {torch.float16, torch.float32}
    pipes: list[Any] = [
        outline(tmp_path, Hollow(), "float16"),
        outline("tiny-flux", Hollow(), "float16"),
        dpnb.random_pipeline("tiny-flux", dtype="float16"),
    ]
    assert all(shapes(made) == shapes(loaded) for made in pipes)


def test_code_that_a_checkpoint_brings_along_is_not_run(folder: Path, tmp_path: Path) -> None:
    place, canary = tmp_path / "model", tmp_path / "executed"
    shutil.copytree(folder, place)
    (place / "unet" / "planted.py").write_text(f"open({str(canary)!r}, 'w').close()")
    index = json.loads((place / "model_index.json").read_text())
    index["unet"] = ["planted", "Planted"]
    (place / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ForeignCodeError, match=r"unet/planted\.py of"):
        plan(place, **SIZE)
    assert not canary.exists()
