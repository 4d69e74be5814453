"""No file outside of a checkpoint's folder is read, whatever its links say."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import CheckpointError
from dpnb.loading.adapters.adapter_files import read_adapter
from dpnb.loading.checkpoint_paths import check_all_inside, check_inside, find_checkpoint
from dpnb.loading.components.custom_code import PIPELINE_FILE
from dpnb.loading.hub import upload_folder
from dpnb.loading.weights.weight_files import write_weights
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines.pictures.previews import LatentColours, colours_of
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.schedulers.ddim import DDIMScheduler
from tests.hub_server import HubServer

pytestmark = pytest.mark.exhaustive

WEIGHTS = "diffusion_pytorch_model.safetensors"
CODE = """
from diffusers import DiffusionPipeline
class Own(DiffusionPipeline):
    def __init__(self, unet, scheduler):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
    def __call__(self):
        return 1
"""
SIZE: dict[str, Any] = {"height": 32, "width": 32, "steps": 2, "device": "RTX 3060"}
LEADS_OUT = r"is a link to .*elsewhere.*, which lies outside of the folder .*put a copy in place"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with everything that is read of one."""
    folder = tmp_path_factory.mktemp("model") / "pipe"
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.save_pretrained(folder)
    shutil.copytree(folder / "unet", folder / "sharded")
    (folder / "sharded" / WEIGHTS).unlink()
    write_weights(
        pipe.unet.state_dict(), folder / "sharded", WEIGHTS.split(".")[0], max_shard_size=400_000
    )
    LatentColours(((0.1, 0.2, 0.3),) * 5).save(folder)
    (folder / PIPELINE_FILE).write_text(f"from .sub.module import VALUE\n{CODE}")
    (folder / "sub").mkdir()
    (folder / "sub" / "module.py").write_text("VALUE = 1")
    pipe.save_pretrained(folder / "one.dduf")
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "here" / "pipe")


def move_out(folder: Path, name: str) -> None:
    """Put the file or folder `name` elsewhere, and a link to it in its place."""
    target = folder.parent.parent / "elsewhere" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / name).rename(target)
    (folder / name).symlink_to(target)


def load(folder: Path, **options: Any) -> Any:
    return dpnb.DiffusionPipeline.from_pretrained(folder, **options)


def load_code(folder: Path) -> Any:
    return load(folder, custom_pipeline=str(folder), trust_remote_code=True)


def load_sharded(folder: Path) -> object:
    return UNet2DConditionModel.from_pretrained(folder, subfolder="sharded")


def load_card(folder: Path) -> object:
    return load(folder, load_connected_pipeline=True)


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("model_index.json", load),
    ("unet", load),
    ("unet/config.json", load),
    (f"unet/{WEIGHTS}", load),
    (f"vae/{WEIGHTS}", load),
    ("vae/config.json", load),
    ("scheduler/scheduler_config.json", load),
    ("scheduler", load),
    ("text_encoder/config.json", load),
    ("text_encoder/model.safetensors", load),
    ("text_encoder", load),
    ("tokenizer/tokenizer_config.json", load),
    ("tokenizer/vocab.json", load),
    ("tokenizer/merges.txt", load),
    ("tokenizer", load),
    ("README.md", load_card),
    (PIPELINE_FILE, load_code),
    ("sub/module.py", load_code),
    ("sub", load_code),
    ("latent_preview.json", lambda folder: colours_of(str(folder))),
    ("one.dduf", lambda folder: load(folder, dduf_file="one.dduf")),
    ("unet/config.json", lambda folder: UNet2DConditionModel.from_pretrained(folder / "unet")),
    (f"unet/{WEIGHTS}", lambda folder: UNet2DConditionModel.from_pretrained(folder / "unet")),
    ("unet/config.json", lambda folder: UNet2DConditionModel.load_config(folder / "unet")),
    (f"sharded/{WEIGHTS}.index.json", load_sharded),
    (f"sharded/{WEIGHTS.split('.')[0]}-00002-of-00003.safetensors", load_sharded),
    ("sharded", load_sharded),
    ("scheduler/scheduler_config.json", lambda f: DDIMScheduler.from_pretrained(f / "scheduler")),
    ("scheduler/scheduler_config.json", lambda f: DDIMScheduler.from_pretrained(f, "scheduler")),
    ("unet/config.json", lambda folder: dpnb.plan(folder, **SIZE)),
    (f"unet/{WEIGHTS}", lambda folder: dpnb.plan(folder, **SIZE)),
    ("text_encoder/config.json", lambda folder: dpnb.plan(folder, **SIZE)),
    ("tokenizer/vocab.json", lambda folder: dpnb.plan(folder, **SIZE)),
    (f"unet/{WEIGHTS}", lambda folder: read_adapter(folder, f"unet/{WEIGHTS}")),
    ("unet/config.json", lambda folder: upload_folder(folder, "someone/tiny", token="t")),
]


@pytest.mark.parametrize(("name", "read"), READERS)
def test_what_leads_out_of_a_checkpoint_is_refused_wherever_it_is_read(
    hub: HubServer, folder: Path, name: str, read: Callable[[Path], object]
) -> None:
    move_out(folder, name)
    with pytest.raises(CheckpointError, match=LEADS_OUT) as caught:
        read(folder)
    assert str(folder / name) in str(caught.value)
    assert not hub.requests


def test_pickled_weights_and_chains_of_links_are_refused_too(folder: Path) -> None:
    load(folder).save_pretrained(folder / "bin", safe_serialization=False)
    move_out(folder / "bin", "unet/diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model.bin is a link to"):
        load(folder / "bin")
    move_out(folder, f"unet/{WEIGHTS}")
    (folder / f"unet/{WEIGHTS}").rename(folder / "second")
    (folder / f"unet/{WEIGHTS}").symlink_to("../second")
    with pytest.raises(CheckpointError, match=LEADS_OUT):
        load(folder)


def test_nothing_of_what_a_link_leads_to_is_in_the_error(folder: Path) -> None:
    (folder.parent / "secret").write_text("a very secret word")
    (folder / "unet" / "config.json").unlink()
    (folder / "unet" / "config.json").symlink_to("../../secret")
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert "secret word" not in str(caught.value)


def test_links_within_the_checkpoint_are_followed(folder: Path, saved: Path) -> None:
    (folder / "shared").mkdir()
    for name in (f"unet/{WEIGHTS}", "scheduler/scheduler_config.json", "tokenizer/vocab.json"):
        (folder / name).rename(folder / "shared" / Path(name).name)
        (folder / name).symlink_to(Path("../shared") / Path(name).name)
    (folder / "vae").rename(folder / "shared" / "vae")
    (folder / "vae").symlink_to("shared/vae")
    weights = load(saved).unet.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in load(folder).unet.state_dict().items())
    assert (
        build_valueless_pipeline(folder, ValuelessTensors()).components.keys()
        == load(saved).components.keys()
    )


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "unet").symlink_to(folder / "unet")
    assert load(tmp_path / "link").unet is not None
    assert UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    move_out(folder, "unet/config.json")
    with pytest.raises(CheckpointError, match="outside of the folder"):
        load(tmp_path / "link")


def test_links_that_nobody_reads_do_no_harm(folder: Path, tmp_path: Path) -> None:
    (folder / "pictures").symlink_to(tmp_path)
    (folder / "unet" / "notes.txt").symlink_to(tmp_path)
    assert load(folder).unet is not None


def test_code_that_has_folders_loads(folder: Path) -> None:
    assert load_code(folder)() == 1


def test_a_file_that_the_user_names_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    for name, target in (("a.dduf", "one.dduf"), ("a.py", "plain.py")):
        (folder / "plain.py").write_text(CODE)
        (tmp_path / name).symlink_to(folder / target)
    assert load(tmp_path / "a.dduf").unet is not None
    assert type(load(folder, custom_pipeline=str(tmp_path / "a.py"), trust_remote_code=True))
    (tmp_path / "lora.safetensors").symlink_to(folder / f"unet/{WEIGHTS}")
    assert read_adapter(tmp_path / "lora.safetensors").tensors


@pytest.mark.parametrize("name", ["unet/config.json", f"vae/{WEIGHTS}", "tokenizer/vocab.json"])
def test_a_link_to_nothing_or_to_itself_is_said_in_one_sentence(folder: Path, name: str) -> None:
    (folder / name).unlink()
    for target in (folder / "gone", folder / name):
        (folder / name).symlink_to(target)
        with pytest.raises(CheckpointError, match=r"is a link to .*not there; download the model"):
            load(folder)
        (folder / name).unlink()


# --- the hub's cache ---


def cached(root: Path, name: str = "models--someone--tiny") -> Path:
    """A snapshot with one file, as the hub's cache has it."""
    snapshot = root / name / "snapshots" / ("0" * 40)
    (snapshot / "unet").mkdir(parents=True)
    (root / name / "blobs").mkdir()
    (root / name / "blobs" / "abc").write_text("{}")
    (snapshot / "unet" / "config.json").symlink_to("../../../blobs/abc")
    return snapshot


def test_a_snapshot_may_link_to_the_blobs_of_its_own_repository(tmp_path: Path) -> None:
    file = cached(tmp_path) / "unet" / "config.json"
    assert check_inside(file) == file
    assert check_all_inside(file.parent.parent) == file.parent.parent
    (tmp_path / "link").symlink_to(file.parent.parent)
    assert check_inside(tmp_path / "link" / "unet" / "config.json", tmp_path / "link")


def test_a_blob_may_lie_in_the_store_that_all_repositories_share(tmp_path: Path) -> None:
    file = cached(tmp_path) / "unet" / "config.json"
    store = tmp_path / "blobs" / "ab" / ("ab" + "0" * 62)
    store.parent.mkdir(parents=True)
    store.write_text("{}")
    blob = tmp_path / "models--someone--tiny" / "blobs" / "abc"
    blob.unlink()
    blob.symlink_to(store)
    assert check_inside(file) == file


@pytest.mark.parametrize(
    "target",
    [
        "../../../../models--other--tiny/blobs/abc",
        "../../../../blobs/secret",
        "../../../refs",
        "../../../blobs/../../secret",
        "../../../blobs/out",
        "/etc/passwd",
    ],
)
def test_a_snapshot_may_link_to_nothing_else(tmp_path: Path, target: str) -> None:
    file = cached(tmp_path) / "unet" / "config.json"
    cached(tmp_path, "models--other--tiny")
    (tmp_path / "blobs").mkdir()
    for secret in (tmp_path / "secret", tmp_path / "blobs" / "secret"):
        secret.write_text("secret")
    (tmp_path / "models--someone--tiny" / "refs").mkdir()
    (tmp_path / "models--someone--tiny" / "blobs" / "out").symlink_to(tmp_path / "secret")
    file.unlink()
    file.symlink_to(target)
    with pytest.raises(CheckpointError, match="which lies outside of the folder"):
        check_inside(file)


def test_folders_that_only_look_like_a_cache_are_none(tmp_path: Path) -> None:
    file = cached(tmp_path, "my-models") / "unet" / "config.json"
    with pytest.raises(CheckpointError, match="which lies outside of the folder"):
        check_inside(file)


def test_a_component_belongs_to_the_pipeline_above_it(folder: Path) -> None:
    assert find_checkpoint(folder / "unet") == folder
    assert find_checkpoint(folder) == folder
    assert find_checkpoint(folder.parent) == folder.parent
    shutil.copytree(folder, folder / "inner")
    assert find_checkpoint(folder / "inner") == folder / "inner"
