"""Loading, saving and making pipelines out of one another."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import CheckpointError, ComponentError, DpnbError, ForeignCodeError, HubError
from tests.hub_server import HubServer

pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def original() -> Any:
    return dpnb.random_pipeline("tiny-sd")


@pytest.fixture
def saved(original: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    original.save_pretrained(folder)
    return folder


def edit(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(values))


def same_weights(one: Any, other: Any) -> bool:
    a, b = one.unet.state_dict(), other.unet.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_base_class_finds_the_class_in_the_index(saved: Path, original: Any) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained(saved)
    assert type(pipe) is dpnb.StableDiffusionPipeline
    assert same_weights(pipe, original)
    assert pipe.name_or_path == str(saved)
    assert not pipe.unet.training
    assert not pipe.text_encoder.training


def test_the_index_says_diffusers(saved: Path) -> None:
    index = json.loads((saved / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert index["text_encoder"] == ["transformers", "CLIPTextModel"]
    assert index["safety_checker"] == [None, None]
    assert index["requires_safety_checker"] is False


def test_dtypes_may_differ_by_component(saved: Path) -> None:
    dtypes = {"unet": torch.bfloat16, "default": torch.float16}
    pipe = dpnb.DiffusionPipeline.from_pretrained(saved, torch_dtype=dtypes)
    assert pipe.unet.dtype is torch.bfloat16
    assert pipe.vae.dtype is torch.float16
    assert pipe.text_encoder.dtype is torch.float16
    pipe.to(torch.bfloat16).save_pretrained(saved)
    assert dpnb.DiffusionPipeline.from_pretrained(saved).dtype is torch.float32
    assert dpnb.DiffusionPipeline.from_pretrained(saved, dtype="auto").dtype is torch.bfloat16


def test_components_passed_by_name_are_used_and_not_loaded(saved: Path, original: Any) -> None:
    (saved / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    pipe = dpnb.DiffusionPipeline.from_pretrained(saved, unet=original.unet)
    assert pipe.unet is original.unet


def test_loading_info_lists_keys_by_component(saved: Path) -> None:
    pipe, info = dpnb.DiffusionPipeline.from_pretrained(saved, output_loading_info=True)
    assert info["unet"] == {"missing": (), "unexpected": (), "mismatched": ()}
    assert isinstance(pipe, dpnb.StableDiffusionPipeline)


def test_a_device_map_of_one_device_loads_onto_it(saved: Path) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained(saved, device_map="cpu")
    assert pipe.device == torch.device("cpu")
    assert pipe.hf_device_map == {"": "cpu"}


def test_each_component_is_named_to_who_listens(
    saved: Path, original: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "dpnb.pipelines"):
        dpnb.StableDiffusionPipeline.from_pretrained(saved)
    assert f"unet is a UNet2DConditionModel of {saved}." in caplog.messages
    named = {message.partition(" ")[0] for message in caplog.messages}
    assert named >= {name for name, part in original.components.items() if part is not None}


def test_unused_arguments_are_named_in_one_line(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        dpnb.DiffusionPipeline.from_pretrained(saved, shade="blue")
    assert "StableDiffusionPipeline has no use for shade; ignored." in caplog.messages


@pytest.mark.parametrize("how", [{}, {"safe_serialization": False}, {"max_shard_size": "100KB"}])
def test_what_is_saved_comes_back(original: Any, tmp_path: Path, how: dict[str, Any]) -> None:
    original.save_pretrained(tmp_path / "a", **how)
    assert same_weights(dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a"), original)


def test_variants_stand_beside_each_other(saved: Path, original: Any) -> None:
    half = dpnb.DiffusionPipeline.from_pretrained(saved, dtype="fp16")
    half.save_pretrained(saved, variant="fp16")
    assert same_weights(dpnb.DiffusionPipeline.from_pretrained(saved), original)
    again = dpnb.DiffusionPipeline.from_pretrained(saved, variant="fp16", dtype="auto")
    assert again.dtype is torch.float16


def test_a_pipeline_made_from_another_shares_its_weights(original: Any) -> None:
    made = dpnb.StableDiffusionPipeline.from_pipe(original)
    assert made.unet is original.unet
    assert made.dtype is torch.float32
    other = dpnb.EulerDiscreteScheduler.from_config(original.scheduler.config)
    assert dpnb.StableDiffusionPipeline.from_pipe(original, scheduler=other).scheduler is other
    again = dpnb.StableDiffusionPipeline(**original.components, requires_safety_checker=False)
    assert again.unet is original.unet


def test_from_pipe_keeps_half_precision(saved: Path) -> None:
    half = dpnb.DiffusionPipeline.from_pretrained(saved, dtype=torch.float16)
    made = dpnb.StableDiffusionPipeline.from_pipe(half)
    assert made.dtype is torch.float16
    assert half.dtype is torch.float16


def test_from_pipe_names_what_it_lacks(original: Any) -> None:
    with pytest.raises(TypeError, match="StableDiffusionPipeline has no colour"):
        dpnb.StableDiffusionPipeline.from_pipe(original, colour="red")


def test_a_component_that_was_none_is_saved_once_it_is_there(original: Any, tmp_path: Path) -> None:
    pipe = dpnb.StableDiffusionPipeline.from_pipe(original)
    unet, pipe.unet = pipe.unet, None  # type: ignore[assignment]
    pipe.unet = unet
    pipe.save_pretrained(tmp_path / "a")
    assert (tmp_path / "a" / "unet" / "config.json").exists()


def test_what_has_no_files_is_left_out_of_a_save(
    original: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = dpnb.StableDiffusionPipeline(**{**original.components, "feature_extractor": len})
    pipe.save_pretrained(tmp_path / "tiny")
    assert "feature_extractor is a builtin_function_or_method, which has" in caplog.text
    again = dpnb.StableDiffusionPipeline.from_pretrained(tmp_path / "tiny")
    assert again.feature_extractor is None
    assert same_weights(again, pipe)
    assert pipe.feature_extractor is len
    pipe = dpnb.StableDiffusionPipeline(**{**original.components, "tokenizer": len})
    with pytest.raises(ComponentError, match="which has no save_pretrained; give the"):
        pipe.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_moving_and_casting_return_the_pipeline(original: Any) -> None:
    pipe = dpnb.random_pipeline("tiny-sd")
    assert pipe.to("cpu", torch.bfloat16) is pipe
    assert pipe.dtype is torch.bfloat16
    assert pipe.to(dtype=torch.float32).dtype is torch.float32
    assert pipe.to(torch.device("cpu")).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("args", "kwargs", "sentence"),
    [
        (("cpu", "cpu"), {}, "two devices"),
        ((torch.float16,), {"dtype": torch.float32}, "two dtypes"),
        ((1.5,), {}, "takes a device and a dtype, not 1.5"),
        (("toaster",), {}, "'toaster' is not a device"),
        ((), {"dtype": "float16"}, "dtype is 'float16'; use a torch.dtype"),
        (("cpu", torch.float16, 1), {}, "not 3 arguments"),
    ],
)
def test_a_wrong_target_is_named(
    original: Any, args: Any, kwargs: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        original.to(*args, **kwargs)
    assert original.dtype is torch.float32


class Watched(torch.nn.Linear):
    """A network that keeps a list of where it was sent, and may have no room there."""

    def __init__(self, *, has_room: bool) -> None:
        super().__init__(1, 1)
        self.has_room = has_room
        self.sent: list[Any] = []

    def to(self, *args: Any, **kwargs: Any) -> Any:
        self.sent.append((args, kwargs))
        if not self.has_room and kwargs:
            raise torch.OutOfMemoryError("no room")
        return self


def test_a_move_that_fails_brings_back_what_had_moved() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.text_encoder, pipe.unet = Watched(has_room=True), Watched(has_room=False)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        pipe.to("meta")
    for network in (pipe.text_encoder, pipe.unet):
        assert network.sent[-1] == ((torch.device("cpu"),), {})
    assert pipe.vae.device == torch.device("cpu")


def break_index(folder: Path, **changes: Any) -> None:
    edit(folder / "model_index.json", **changes)


MISTAKES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("no index", lambda f: (f / "model_index.json").unlink(), {}, "has no model_index.json"),
    ("no json", lambda f: (f / "model_index.json").write_text("{"), {}, "is not valid JSON"),
    ("class", lambda f: break_index(f, _class_name="Magic"), {}, "dpnb has no Magic"),
    ("library", lambda f: break_index(f, unet=["os", "system"]), {}, "'os', which is neither"),
    ("path", lambda f: break_index(f, **{"../up": ["diffusers", "X"]}), {}, "../up"),
    ("folder", lambda f: (f / "vae").rename(f / "v"), {}, "has no folder vae, which its index"),
    ("missing", lambda f: break_index(f, vae=[None, None]), {}, "vae is missing. Pass it by name"),
    (
        "truncated",
        lambda f: os.truncate(f / "unet" / "diffusion_pytorch_model.safetensors", 5000),
        {},
        "diffusion_pytorch_model.safetensors",
    ),
    (
        "weights",
        lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").unlink(),
        {},
        "unet",
    ),
    ("variant", None, {"variant": "fp8"}, "`variant=fp8`, which are not here"),
    ("safetensors", None, {"use_safetensors": False}, "has no bin weights"),
    ("dtype", None, {"dtype": "half-ish"}, "'half-ish' is not a dtype"),
    ("two dtypes", None, {"dtype": "fp16", "torch_dtype": "fp16"}, "mean the same"),
    ("map", None, {"device_map": {"nothing": "cpu"}}, "The device map names 'nothing'"),
    ("custom", None, {"custom_pipeline": "x/y"}, "would run the pipeline's code in x/y on this"),
]


@pytest.mark.parametrize(
    ("damage", "arguments", "sentence"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_what_is_wrong_with_a_checkpoint_is_said_in_one_sentence(
    saved: Path, damage: Any, arguments: dict[str, Any], sentence: str
) -> None:
    if damage:
        damage(saved)
    with pytest.raises((DpnbError, ValueError, TypeError)) as caught:
        dpnb.DiffusionPipeline.from_pretrained(saved, **arguments)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_shard_is_named(original: Any, tmp_path: Path) -> None:
    original.save_pretrained(tmp_path / "a", max_shard_size="100KB")
    shard = next((tmp_path / "a" / "unet").glob("*-00002-of-*.safetensors"))
    shard.unlink()
    with pytest.raises(CheckpointError, match=shard.name):
        dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a")


def test_a_wrong_path_is_named(tmp_path: Path) -> None:
    with pytest.raises((DpnbError, ValueError), match="nowhere"):
        dpnb.DiffusionPipeline.from_pretrained(tmp_path / "nowhere" / "at" / "all")


def test_code_of_a_repository_is_not_run(saved: Path) -> None:
    break_index(saved, _class_name=["pipeline", "Own"])
    (saved / "pipeline.py").write_text("raise SystemExit('ran')")
    with pytest.raises(
        ForeignCodeError, match=r"would run pipeline\.py of .* pass trust_remote_code=True"
    ):
        dpnb.DiffusionPipeline.from_pretrained(saved)


def test_a_pipeline_without_a_component_is_refused(original: Any) -> None:
    with pytest.raises(ComponentError, match="a safety_checker needs a feature_extractor"):
        dpnb.StableDiffusionPipeline(
            **{**original.components, "safety_checker": original.vae},
        )


@pytest.mark.slow
def test_a_killed_save_leaves_the_former_folder_loadable(saved: Path, original: Any) -> None:
    code = (
        "import sys, dpnb\n"
        "pipe = dpnb.random_pipeline('tiny-sd', seed=5)\n"
        "print('ready', flush=True)\n"
        "while True: pipe.save_pretrained(sys.argv[1], max_shard_size='50KB')\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(saved)], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.25)
        child.send_signal(signal.SIGKILL)
        child.wait()
    pipe = dpnb.DiffusionPipeline.from_pretrained(saved)
    assert same_weights(pipe, original) or same_weights(
        pipe, dpnb.random_pipeline("tiny-sd", seed=5)
    )
    pipe.save_pretrained(saved)
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def upload(hub: HubServer, pipe: Any, name: str = "someone/tiny", **how: Any) -> None:
    pipe.push_to_hub(name, token=hub.token or "any", **how)


@pytest.mark.slow
def test_a_pipeline_goes_to_the_hub_and_comes_back(
    hub: HubServer, original: Any, tmp_path: Path
) -> None:
    upload(hub, original)
    pipe = dpnb.DiffusionPipeline.from_pretrained("someone/tiny", cache_dir=tmp_path)
    assert same_weights(pipe, original)
    asked = len(hub.requests)
    folder = dpnb.DiffusionPipeline.download(
        "someone/tiny", cache_dir=tmp_path, local_files_only=True
    )
    assert len(hub.requests) == asked
    assert (Path(folder) / "model_index.json").exists()
    again = dpnb.DiffusionPipeline.from_pretrained(
        "someone/tiny", cache_dir=tmp_path, local_files_only=True
    )
    assert same_weights(again, original)


@pytest.mark.slow
def test_saving_can_push_at_once(hub: HubServer, original: Any, tmp_path: Path) -> None:
    original.save_pretrained(
        tmp_path / "mine", push_to_hub=True, repo_id="someone/mine", token="any"
    )
    pipe = dpnb.DiffusionPipeline.from_pretrained("someone/mine", cache_dir=tmp_path / "cache")
    assert same_weights(pipe, original)


def test_only_the_variant_asked_for_is_downloaded(
    hub: HubServer, original: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "both"
    original.save_pretrained(folder)
    original.save_pretrained(folder, variant="fp16")
    hub.add("someone/both", folder)
    path = dpnb.DiffusionPipeline.download(
        "someone/both", variant="fp16", cache_dir=tmp_path / "cache"
    )
    weights = {p.name for p in Path(path).rglob("*.safetensors")}
    assert weights == {"diffusion_pytorch_model.fp16.safetensors", "model.fp16.safetensors"}


def test_a_refused_token_and_an_unknown_revision_are_sentences(
    hub: HubServer, original: Any, tmp_path: Path
) -> None:
    hub.token = "right"
    upload(hub, original)
    with pytest.raises(HubError, match="someone/tiny"):
        dpnb.DiffusionPipeline.from_pretrained("someone/tiny", token="wrong", cache_dir=tmp_path)
    with pytest.raises(HubError, match="nowhere"):
        dpnb.DiffusionPipeline.from_pretrained(
            "someone/tiny", token="right", revision="nowhere", cache_dir=tmp_path
        )


@pytest.mark.slow
def test_a_cut_connection_is_taken_up_again(
    hub: HubServer, original: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    upload(hub, original)
    hub.cut_after, hub.cuts = 50_000, 1
    pipe = dpnb.DiffusionPipeline.from_pretrained("someone/tiny", cache_dir=tmp_path)
    assert same_weights(pipe, original)
    assert "bytes=50000-" in hub.ranges()


def test_one_model_comes_from_the_hub(hub: HubServer, original: Any, tmp_path: Path) -> None:
    upload(hub, original)
    unet = dpnb.UNet2DConditionModel.from_pretrained(
        "someone/tiny", subfolder="unet", cache_dir=tmp_path
    )
    assert isinstance(unet, dpnb.UNet2DConditionModel)
    assert torch.equal(unet.conv_in.weight, original.unet.conv_in.weight)
