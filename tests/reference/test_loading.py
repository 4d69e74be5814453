"""Files beside diffusers': the same choice of them, and each reads what the other wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import pytest
import torch

import dpnb
from dpnb.loading.file_selection import select_pipeline_files
from dpnb.loading.hub import HubOptions, fetch
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.weights.weight_files import find_weights, read_weights, write_weights
from tests.hub_server import HubServer
from tests.reference import checkpoints

STEM = "diffusion_pytorch_model"
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
PLAIN = [
    "README.md",
    "feature_extractor/preprocessor_config.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "v1-5-pruned-emaonly.ckpt",
    "v1-5-pruned.safetensors",
    "vae/config.json",
]
MODELS = {"text_encoder": "model", "unet": STEM, "vae": STEM}


def weights(extension: str, *folders: str, variant: str = "") -> list[str]:
    names = {"bin": {"model": "pytorch_model"}}.get(extension, {})
    return [
        f"{folder}/{names.get(stem, stem)}{variant}.{extension}"
        for folder, stem in MODELS.items()
        if folder in folders or not folders
    ]


def sharded(folder: str, extension: str, variant: str = "") -> list[str]:
    shards = [f"{folder}/{STEM}{variant}-0000{n}-of-00002.{extension}" for n in (1, 2)]
    return [*shards, f"{folder}/{STEM}.{extension}.index{variant}.json"]


SAFE, BIN = weights("safetensors"), weights("bin")
FP16, FP16_BIN = weights("safetensors", variant=".fp16"), weights("bin", variant=".fp16")
JUNK = ["unet/diffusion_flax_model.msgpack", "unet/model.onnx", "unet/weights.pb"]

LAYOUTS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "safetensors": ([*SAFE], {}),
    "both formats": ([*SAFE, *BIN, *JUNK], {}),
    "bin": ([*BIN, *JUNK], {}),
    "one component without safetensors": ([*SAFE[:2], *BIN], {}),
    "bin asked for": ([*SAFE, *BIN], {"use_safetensors": False}),
    "safetensors asked for": ([*SAFE, *BIN], {"use_safetensors": True}),
    "variant": ([*SAFE, *FP16, *BIN, *FP16_BIN], {"variant": "fp16"}),
    "variant not asked for": ([*SAFE, *FP16, *BIN, *FP16_BIN], {}),
    "variant in one component": ([*SAFE, FP16[1]], {"variant": "fp16"}),
    "variant only as bin": ([*SAFE, *BIN, *FP16_BIN], {"variant": "fp16"}),
    "another variant": (
        [*SAFE, *FP16, *weights("safetensors", "unet", variant=".non_ema")],
        {"variant": "non_ema"},
    ),
    "shards": ([SAFE[0], SAFE[2], *sharded("unet", "safetensors")], {}),
    "shards of a variant": (
        [*SAFE, *sharded("unet", "safetensors", ".fp16"), *sharded("unet", "bin", ".fp16")],
        {"variant": "fp16"},
    ),
    "shards as bin": ([BIN[0], BIN[2], *sharded("unet", "bin")], {}),
    "unet passed": ([*SAFE, *BIN], {"unet": None}),
    "the only bin passed": ([*SAFE[::2], BIN[1]], {"unet": None}),
}


FLUX_INDEX = {
    "_class_name": "FluxPipeline",
    "_diffusers_version": "0.30.0.dev0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
"""FLUX.1-schnell's, and below the files beside it."""

FLUX_FILES = [
    "README.md",
    "ae.safetensors",
    "flux1-schnell.safetensors",
    "scheduler/scheduler_config.json",
    "schnell_grid.jpeg",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model-00001-of-00002.safetensors",
    "text_encoder_2/model-00002-of-00002.safetensors",
    "text_encoder_2/model.safetensors.index.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/spiece.model",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/tokenizer_config.json",
    "transformer/config.json",
    *(f"transformer/{STEM}-0000{n}-of-00003.safetensors" for n in (1, 2, 3)),
    f"transformer/{STEM}.safetensors.index.json",
    "vae/config.json",
    f"vae/{STEM}.safetensors",
]


@pytest.fixture
def theirs(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The hub, as the one that diffusers asks too."""
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.url)
    return hub


def present(folder: str | Path) -> list[str]:
    root = Path(folder)
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_files_are_chosen(theirs: HubServer, tmp_path: Path, layout: str) -> None:
    files, arguments = LAYOUTS[layout]
    content = dict.fromkeys([*PLAIN, *files], b"{}")
    theirs.add("someone/pipe", {**content, "model_index.json": json.dumps(INDEX).encode()})
    expected = diffusers.DiffusionPipeline.download(
        "someone/pipe", cache_dir=tmp_path / "theirs", **arguments
    )
    options = HubOptions(cache_dir=tmp_path / "ours")
    index = ModelIndex.parse(INDEX, tmp_path)
    chosen = fetch("someone/pipe", lambda names: _select(names, index, arguments), options)
    assert present(chosen) == present(expected)


@pytest.mark.parametrize("arguments", [{}, {"text_encoder_2": None, "tokenizer_2": None}], ids=str)
def test_the_same_files_of_flux_are_chosen(
    theirs: HubServer, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    content = dict.fromkeys(FLUX_FILES, b"{}")
    theirs.add("someone/flux", {**content, "model_index.json": json.dumps(FLUX_INDEX).encode()})
    places = [tmp_path / "theirs", tmp_path / "ours"]
    found = [
        library.DiffusionPipeline.download("someone/flux", cache_dir=place, **arguments)
        for library, place in zip((diffusers, dpnb), places, strict=True)
    ]
    assert present(found[0]) == present(found[1])
    assert f"transformer/{STEM}-00003-of-00003.safetensors" in present(found[1])
    assert "flux1-schnell.safetensors" not in present(found[1])


def _select(names: Any, index: ModelIndex, arguments: dict[str, Any]) -> list[str]:
    passed = {"unet"} & arguments.keys()
    wanted = {name: value for name, value in arguments.items() if name not in passed}
    return select_pipeline_files(names, index, passed=passed, **wanted)


def test_a_cache_filled_by_one_serves_the_other(theirs: HubServer, tmp_path: Path) -> None:
    content = dict.fromkeys([*PLAIN, *SAFE], b"{}")
    theirs.add("someone/pipe", {**content, "model_index.json": json.dumps(INDEX).encode()})
    expected = diffusers.DiffusionPipeline.download("someone/pipe", cache_dir=tmp_path)
    options = HubOptions(cache_dir=tmp_path, local_files_only=True)
    index = ModelIndex.parse(INDEX, tmp_path)
    assert fetch(
        "someone/pipe", lambda names: select_pipeline_files(names, index), options
    ) == Path(expected)


SAVES: list[dict[str, Any]] = [
    {},
    {"variant": "fp16"},
    {"safe_serialization": False},
    {"safe_serialization": False, "variant": "fp16"},
    {"max_shard_size": "20KB"},
    {"max_shard_size": "20KB", "variant": "fp16"},
    {"max_shard_size": "20KB", "safe_serialization": False},
]


@pytest.mark.parametrize("options", SAVES, ids=str)
def test_each_reads_what_the_other_wrote(tmp_path: Path, options: dict[str, Any]) -> None:
    model = checkpoints.vae()
    state = model.state_dict()
    model.save_pretrained(tmp_path / "theirs", **options)
    variant = options.get("variant")
    ours = read_weights(find_weights(tmp_path / "theirs", STEM, variant=variant))
    assert ours.keys() == state.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in state.items())

    (tmp_path / "ours").mkdir()
    model.save_config(tmp_path / "ours")
    write_weights(state, tmp_path / "ours", STEM, **options)
    assert kinds(tmp_path / "ours") == kinds(tmp_path / "theirs")
    loaded = diffusers.AutoencoderKL.from_pretrained(
        tmp_path / "ours", variant=variant, use_safetensors=options.get("safe_serialization")
    )
    assert all(torch.equal(loaded.state_dict()[name], state[name]) for name in state)


def kinds(folder: Path) -> set[str]:
    return {name.split("-0")[0] + Path(name).suffix for name in present(folder)}
