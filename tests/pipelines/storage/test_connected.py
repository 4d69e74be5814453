"""Pipelines that others complete, ONNX files, and the cards that come with what is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

import dpnb
from dpnb.errors import CheckpointError, ComponentError, ForeignCodeError
from tests.hub_server import HubServer
from tests.pipelines.storage.test_persistence import edit, same_weights

pytestmark = pytest.mark.exhaustive


class Combined(dpnb.DiffusionPipeline):
    """A pipeline that has the network of another."""

    _load_connected_pipes: ClassVar[bool] = True

    def __init__(self, unet: Any, scheduler: Any, prior_unet: Any, prior_scheduler: Any) -> None:
        super().__init__()
        self.register_modules(
            unet=unet, scheduler=scheduler, prior_unet=prior_unet, prior_scheduler=prior_scheduler
        )


class Plain(Combined):
    """The same, loaded alone unless it is asked for."""

    _load_connected_pipes: ClassVar[bool] = False


@pytest.fixture(scope="module")
def original() -> Any:
    return dpnb.random_pipeline("tiny-sd")


@pytest.fixture(scope="module")
def prior() -> Any:
    return dpnb.random_pipeline("tiny-sd", seed=5)


@pytest.fixture
def served(hub: HubServer, original: Any, prior: Any, tmp_path: Path) -> HubServer:
    """Two repositories, the second of which completes the first."""
    for name, pipe in (("decoder", original), ("prior", prior)):
        pipe.save_pretrained(tmp_path / name)
        hub.add(f"some/{name}", tmp_path / name)
    name_prior(hub, "some/decoder", "some/prior")
    return hub


def name_prior(hub: HubServer, name: str, other: str) -> None:
    card = f"---\nprior:\n- {other}\n---\n# {name}\n".encode()
    hub.add(name, {**hub.repositories[name].files, "README.md": card})


@pytest.mark.slow
def test_the_parts_of_the_other_come_under_its_prefix(
    served: HubServer, original: Any, prior: Any, tmp_path: Path
) -> None:
    pipe = Combined.from_pretrained("some/decoder", cache_dir=tmp_path, dtype="fp16")
    assert same_weights(pipe, original.to(dtype=pipe.dtype))
    assert (
        same_weights(dpnb.StableDiffusionPipeline.from_pipe(prior, unet=pipe.prior_unet), pipe)
        is False
    )
    assert type(pipe.prior_scheduler) is dpnb.DDIMScheduler
    assert pipe.prior_unet.dtype is pipe.unet.dtype


@pytest.mark.slow
def test_what_is_passed_is_not_loaded(served: HubServer, prior: Any, tmp_path: Path) -> None:
    given = {"prior_unet": prior.unet, "prior_scheduler": prior.scheduler}
    pipe = Combined.from_pretrained("some/decoder", cache_dir=tmp_path, **given)
    assert pipe.prior_unet is prior.unet
    assert not any("some/prior" in request.path for request in served.requests)
    with pytest.raises(ComponentError, match="prior_scheduler is missing"):
        Plain.from_pretrained("some/decoder", cache_dir=tmp_path, prior_unet=prior.unet)


@pytest.mark.slow
def test_it_is_done_when_it_is_asked_for(served: HubServer, tmp_path: Path) -> None:
    how: dict[str, Any] = {"cache_dir": tmp_path, "load_connected_pipeline": True}
    assert Plain.from_pretrained("some/decoder", **how).prior_unet is not None
    with pytest.raises(ComponentError, match="prior_unet, prior_scheduler is missing"):
        Combined.from_pretrained("some/decoder", cache_dir=tmp_path, load_connected_pipeline=False)


@pytest.mark.slow
def test_a_download_brings_all_that_loading_takes(served: HubServer, tmp_path: Path) -> None:
    folder = Combined.download("some/decoder", cache_dir=tmp_path)
    assert "decoder" in folder
    asked = len(served.requests)
    pipe = Combined.from_pretrained("some/decoder", cache_dir=tmp_path, local_files_only=True)
    assert pipe.prior_unet is not None
    assert len(served.requests) == asked


@pytest.mark.slow
def test_pipelines_that_name_one_another_are_each_loaded_once(
    served: HubServer, tmp_path: Path
) -> None:
    name_prior(served, "some/prior", "some/decoder")
    pipe = Combined.from_pretrained("some/decoder", cache_dir=tmp_path)
    assert pipe.prior_unet is not None
    how: dict[str, Any] = {"cache_dir": tmp_path, "load_connected_pipeline": True}
    assert "decoder" in dpnb.DiffusionPipeline.download("some/decoder", **how)


@pytest.mark.slow
def test_a_pipeline_that_completes_itself_is_refused(served: HubServer, tmp_path: Path) -> None:
    name_prior(served, "some/decoder", "some/decoder")
    sentence = "some/decoder names some/decoder as its prior, which never ends"
    with pytest.raises(CheckpointError, match=sentence):
        Combined.from_pretrained("some/decoder", cache_dir=tmp_path)
    assert "decoder" in Combined.download("some/decoder", cache_dir=tmp_path)


@pytest.mark.slow
def test_a_revision_is_that_of_the_first_alone(served: HubServer, tmp_path: Path) -> None:
    files = served.repositories["some/decoder"].files
    served.add("some/decoder", files, branch="next")
    pipe = Combined.from_pretrained("some/decoder", revision="next", cache_dir=tmp_path)
    assert pipe.prior_unet is not None


@pytest.mark.slow
def test_trust_in_one_repository_is_not_trust_in_another(served: HubServer, tmp_path: Path) -> None:
    files = dict(served.repositories["some/prior"].files)
    index = json.loads(files["model_index.json"]) | {"_class_name": ["own", "Own"]}
    code = {"model_index.json": json.dumps(index).encode(), "own.py": b"raise SystemExit"}
    served.add("some/prior", {**files, **code})
    with pytest.raises(ForeignCodeError, match=r"would run own\.py of some/prior"):
        Combined.from_pretrained("some/decoder", cache_dir=tmp_path, trust_remote_code=True)


# --- ONNX ---


@pytest.mark.parametrize(("asked", "comes"), [(None, False), (False, False), (True, True)])
def test_onnx_files_come_only_when_asked_for(
    hub: HubServer, original: Any, tmp_path: Path, asked: bool | None, comes: bool
) -> None:
    original.save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "unet" / "model.onnx").write_bytes(b"onnx")
    (tmp_path / "a" / "unet" / "weights.pb").write_bytes(b"more")
    hub.add("some/tiny", tmp_path / "a")
    pipe = dpnb.DiffusionPipeline.from_pretrained(
        "some/tiny", use_onnx=asked, cache_dir=tmp_path / "cache"
    )
    assert same_weights(pipe, original)
    assert ("unet/model.onnx" in hub.fetched()) == comes
    assert ("unet/weights.pb" in hub.fetched()) == comes


def test_an_onnx_pipeline_is_downloaded_whole_and_not_run(
    hub: HubServer, original: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    original.save_pretrained(folder)
    edit(folder / "model_index.json", unet=["diffusers", "OnnxRuntimeModel"])
    edit(folder / "model_index.json", _class_name="OnnxStableDiffusionPipeline")
    (folder / "unet" / "model.onnx").write_bytes(b"onnx")
    hub.add("some/onnx", folder)
    path = dpnb.DiffusionPipeline.download("some/onnx", cache_dir=tmp_path / "cache")
    assert (Path(path) / "unet" / "model.onnx").exists()
    for kind in (dpnb.DiffusionPipeline, dpnb.StableDiffusionPipeline):
        with pytest.raises(CheckpointError, match="runs ONNX files, and dpnb runs PyTorch"):
            kind.from_pretrained("some/onnx", cache_dir=tmp_path / "cache")


# --- cards ---


def test_a_card_is_written_where_there_is_none(original: Any, tmp_path: Path) -> None:
    original.save_pretrained(tmp_path / "a")
    text = (tmp_path / "a" / "README.md").read_text()
    weights = sum(p.numel() for p in original.unet.parameters())
    assert f"| `unet` | UNet2DConditionModel, {weights:,} weights |" in text
    (tmp_path / "a" / "README.md").write_text("mine")
    original.save_pretrained(tmp_path / "a")
    assert (tmp_path / "a" / "README.md").read_text() == "mine"


@pytest.mark.slow
def test_a_card_goes_to_the_hub_and_replaces_none(
    hub: HubServer, original: Any, tmp_path: Path
) -> None:
    original.push_to_hub("some/new", token="any")
    assert b"# StableDiffusionPipeline" in hub.repositories["some/new"].files["README.md"]
    files = {**hub.repositories["some/new"].files, "README.md": b"theirs"}
    hub.add("some/new", files)
    original.push_to_hub("some/new", token="any")
    assert hub.repositories["some/new"].files["README.md"] == b"theirs"
    how: dict[str, Any] = {"push_to_hub": True, "repo_id": "some/new", "token": "any"}
    original.save_pretrained(tmp_path / "a", **how)
    assert hub.repositories["some/new"].files["README.md"] == b"theirs"
    (tmp_path / "a" / "README.md").write_text("mine")
    original.save_pretrained(tmp_path / "a", **how)
    assert hub.repositories["some/new"].files["README.md"] == b"mine"
    assert json.loads(hub.repositories["some/new"].files["model_index.json"])["unet"]
