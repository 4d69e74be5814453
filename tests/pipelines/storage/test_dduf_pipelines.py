"""Pipelines in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import huggingface_hub
import pytest
import torch
from torch import nn
from transformers import T5Config, T5EncoderModel

import dpnb
from dpnb.errors import CheckpointError, HubError
from tests.hub_server import HubServer
from tests.loading.weights.test_embedded_files import backing
from tests.pipelines.foreign.test_custom_pipelines import MINIMAL
from tests.pipelines.storage.test_persistence import same_weights

pytestmark = pytest.mark.exhaustive

NETWORKS = ("unet", "vae", "text_encoder")


@pytest.fixture(scope="module")
def original() -> Any:
    return dpnb.random_pipeline("tiny-sd")


@pytest.fixture(scope="module")
def file(original: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dduf") / "tiny.dduf"
    original.save_pretrained(path)
    return path


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def contents(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_pipeline_in_one_file_comes_back_whole(original: Any, file: Path) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained(file)
    assert type(pipe) is dpnb.StableDiffusionPipeline
    assert all(same(getattr(pipe, n), getattr(original, n)) for n in NETWORKS)
    assert pipe.name_or_path == str(file)
    pipe.set_progress_bar_config(disable=True)
    original.set_progress_bar_config(disable=True)
    how: dict[str, Any] = {"num_inference_steps": 2, "output_type": "pt"}
    drawn = [p("a", generator=torch.Generator().manual_seed(0), **how) for p in (pipe, original)]
    assert torch.equal(drawn[0].images, drawn[1].images)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_mapped_from_the_file_itself(file: Path, name: str) -> None:
    network = getattr(dpnb.DiffusionPipeline.from_pretrained(file), name)
    assert {backing(parameter) for parameter in network.parameters()} == {str(file)}


def test_a_file_made_by_the_hubs_own_writer_loads(original: Any, tmp_path: Path) -> None:
    original.save_pretrained(tmp_path / "folder", max_shard_size="100KB")
    huggingface_hub.export_folder_as_dduf(tmp_path / "a.dduf", tmp_path / "folder")
    pipe, info = dpnb.DiffusionPipeline.from_pretrained(
        tmp_path / "a.dduf", output_loading_info=True
    )
    assert same_weights(pipe, original)
    assert info["unet"] == {"missing": (), "unexpected": (), "mismatched": ()}
    assert all(p.data_ptr() % p.element_size() == 0 for p in pipe.unet.parameters())


def test_dtypes_and_components_go_by_name_as_ever(file: Path, original: Any) -> None:
    dtypes = {"unet": torch.bfloat16, "default": torch.float16}
    pipe = dpnb.DiffusionPipeline.from_pretrained(file, dtype=dtypes, vae=original.vae)
    assert pipe.unet.dtype is torch.bfloat16
    assert pipe.text_encoder.dtype is torch.float16
    assert pipe.vae is original.vae


def test_variants_live_in_a_file_too(original: Any, tmp_path: Path) -> None:
    original.save_pretrained(tmp_path / "a.dduf", variant="fp16")
    pipe = dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a.dduf", variant="fp16")
    assert same_weights(pipe, original)
    with pytest.raises(CheckpointError, match="variant"):
        dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a.dduf", variant="fp8")


@pytest.mark.slow
def test_a_file_lies_in_a_folder_or_on_the_hub(
    original: Any, hub: HubServer, tmp_path: Path
) -> None:
    original.save_pretrained(tmp_path / "a", dduf_file="tiny.dduf")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["tiny.dduf"]
    pipe = dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a", dduf_file="tiny.dduf")
    assert same_weights(pipe, original)
    pipe.push_to_hub("someone/tiny", dduf_file="deep.dduf", token="any")
    assert set(hub.repositories["someone/tiny"].files) == {"README.md", "deep.dduf"}
    how: dict[str, Any] = {"dduf_file": "deep.dduf", "cache_dir": tmp_path / "cache"}
    there = dpnb.DiffusionPipeline.from_pretrained("someone/tiny", **how)
    assert same_weights(there, original)
    assert "README.md" not in hub.fetched()
    path = dpnb.DiffusionPipeline.download("someone/tiny", local_files_only=True, **how)
    assert same_weights(dpnb.DiffusionPipeline.from_pretrained(path), original)


def test_saving_over_the_file_that_is_mapped_keeps_what_is_mapped(
    original: Any, tmp_path: Path
) -> None:
    original.save_pretrained(tmp_path / "a.dduf")
    pipe = dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a.dduf")
    pipe.save_pretrained(tmp_path / "a.dduf")
    assert same_weights(pipe, original)
    assert same_weights(dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a.dduf"), original)
    assert [path.name for path in tmp_path.iterdir()] == ["a.dduf"]


def test_what_is_saved_does_not_depend_on_what_is_switched_on(file: Path, tmp_path: Path) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained(file)
    pipe.save_pretrained(tmp_path / "a.dduf")
    pipe.fuse_qkv_projections()
    pipe.save_pretrained(tmp_path / "b.dduf")
    assert contents(tmp_path / "b.dduf") == contents(tmp_path / "a.dduf")


def test_text_models_of_transformers_load_from_a_file(original: Any, tmp_path: Path) -> None:
    settings = T5Config(d_model=8, d_ff=16, d_kv=4, num_layers=1, num_heads=2, vocab_size=32)
    encoder = T5EncoderModel(settings).eval()
    own: Any = dpnb.StableDiffusionPipeline.from_pipe(original, text_encoder=encoder)
    own.save_pretrained(tmp_path / "a.dduf")
    for dtype, kind in ((None, torch.float32), (torch.float16, torch.float16)):
        pipe = dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a.dduf", dtype=dtype)
        assert type(pipe.text_encoder) is T5EncoderModel
        assert same(pipe.text_encoder, encoder.to(kind))
        assert pipe.text_encoder.dtype is kind


def test_a_custom_pipeline_takes_its_components_from_a_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(MINIMAL.format("file"))
    pipe = dpnb.DiffusionPipeline.from_pretrained(
        file, custom_pipeline=tmp_path / "own.py", trust_remote_code=True
    )
    assert pipe.made_by == "file"
    pipe.save_pretrained(tmp_path / "own.dduf")
    with pytest.raises(CheckpointError, match="dpnb has no Own"):
        dpnb.DiffusionPipeline.from_pretrained(tmp_path / "own.dduf")


MISTAKES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "absent": ({"dduf_file": "none.dduf"}, CheckpointError, "has no file none.dduf"),
    "escape": ({"dduf_file": "../tiny.dduf"}, ValueError, "'../tiny.dduf' is not the name"),
    "root": ({"dduf_file": "/tmp/tiny.dduf"}, ValueError, "is not the name of a DDUF file"),
    "suffix": ({"dduf_file": "tiny.zip"}, ValueError, "is not the name of a DDUF file"),
}


@pytest.mark.parametrize(("how", "kind", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_file_is_named(
    file: Path, how: dict[str, Any], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        dpnb.DiffusionPipeline.from_pretrained(file.parent, **how)


def test_what_one_file_cannot_hold_is_said(original: Any, hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it holds safetensors"):
        original.save_pretrained(tmp_path / "a.dduf", safe_serialization=False)
    with pytest.raises(ValueError, match=r"ends in \.dduf"):
        original.save_pretrained(tmp_path, dduf_file="a.zip")
    with pytest.raises(ValueError, match="A single file cannot be pushed"):
        original.save_pretrained(tmp_path / "a.dduf", push_to_hub=True)
    with pytest.raises(CheckpointError, match="There is no file"):
        dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a.dduf")
    with pytest.raises(HubError, match="no repository someone/none"):
        dpnb.DiffusionPipeline.from_pretrained("someone/none", dduf_file="a.dduf")
    assert list(tmp_path.iterdir()) == []
