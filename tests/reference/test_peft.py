"""The same weights as peft, whatever its settings say."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from shutil import copytree
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb.errors import CheckpointError
from tests.hub_server import HubServer

pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS = ["to_q", "to_v", "to_out.0", "conv1", "time_emb_proj"]
Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
PIPE: Any = dpnb.random_pipeline("tiny-sd")

SETTINGS: dict[str, dict[str, Any]] = {
    "alpha": {"lora_alpha": 16},
    "fractional alpha": {"lora_alpha": 0.5},
    "rank-stabilized": {"lora_alpha": 6, "use_rslora": True},
    "rank pattern": {"rank_pattern": {"attn2.to_q": 2, Q: 5, r".*\.1\..*conv1": 6}},
    "alpha pattern": {"lora_alpha": 3, "alpha_pattern": {Q: 9, "attn2.to_[qv]": 7, "conv1": 1}},
    "patterns of both": {
        "use_rslora": True,
        "rank_pattern": {rf"^{Q}": 7, "attn2.to_v": 1},
        "alpha_pattern": {rf"^{Q}": 2, r"(conv1|time_emb_proj)": 9, r"up_blocks\.\d+\..*": 5},
    },
    "transposed": {"fan_in_fan_out": True},
    "bias of all": {"bias": "all"},
    "bias of its layers": {"bias": "lora_only"},
    "whole layers": {"modules_to_save": ["conv_in", "norm1"]},
    "bias beside the product": {"lora_bias": True, "target_modules": ["to_out.0", "conv1"]},
    "another beginning": {"init_lora_weights": "gaussian", "r": 4},
    "some layers": {"layers_to_transform": [0], "layers_pattern": "down_blocks"},
    "dropout": {"lora_dropout": 0.5},
}


def train(folder: Path, network: nn.Module, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Save a random adapter of a copy of `network` as peft does, and merge it as peft does."""
    plain, again = deepcopy(network), deepcopy(network)
    whole: dict[str, Any] = {"r": 3, "target_modules": LAYERS} | settings
    config = peft.LoraConfig(**whole)
    model: Any = peft.get_peft_model(plain, config)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or "lora_" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = noise / 10 + (0 if "lora_" in name else parameter.data)
    model.save_pretrained(folder)
    merged: Any = peft.PeftModel.from_pretrained(again, folder).merge_and_unload()
    return {name: value.clone() for name, value in merged.state_dict().items()}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_folder_of_pefts_changes_the_weights_as_peft_does(name: str, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in PIPE.unet.state_dict().items()}
    expected = train(tmp_path, PIPE.unet, SETTINGS[name])
    files = [tmp_path, tmp_path / "adapter_model.safetensors"]
    for source in files:
        PIPE.load_lora_weights(source)
        now = {key: value.clone() for key, value in PIPE.unet.state_dict().items()}
        PIPE.unload_lora_weights()
        assert now.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.allclose(now[key], value, atol=1e-5), key
        assert any(not torch.equal(now[key], before[key]) for key in before)
    assert all(torch.equal(value, before[key]) for key, value in PIPE.unet.state_dict().items())


def test_a_subfolder_and_torchs_own_form_have_settings_too(tmp_path: Path) -> None:
    expected = train(tmp_path / "unet", PIPE.unet, {"lora_alpha": 11})
    PIPE.load_lora_weights(tmp_path, subfolder="unet")
    assert torch.allclose(PIPE.unet.state_dict()[f"{Q}.weight"], expected[f"{Q}.weight"], atol=1e-5)
    PIPE.unload_lora_weights()
    from safetensors.torch import load_file

    file = tmp_path / "unet" / "adapter_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    PIPE.load_lora_weights(tmp_path / "unet")
    assert torch.allclose(PIPE.unet.state_dict()[f"{Q}.weight"], expected[f"{Q}.weight"], atol=1e-5)
    PIPE.unload_lora_weights()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(folder, PIPE.unet, {})
    return folder


def test_a_repository_has_settings_too(trained: Path, tmp_path: Path, hub: HubServer) -> None:
    hub.add("someone/peft", {file.name: file.read_bytes() for file in trained.iterdir()})
    weight = PIPE.unet.get_submodule(Q).weight
    PIPE.load_lora_weights(trained)
    expected = weight.detach().clone()
    PIPE.unload_lora_weights()
    for offline in (False, True):
        PIPE.load_lora_weights(
            "someone/peft", cache_dir=tmp_path / "cache", local_files_only=offline
        )
        assert torch.equal(weight, expected)
        PIPE.unload_lora_weights()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"use_dora": True}, r"DoRA \(use_dora\); only plain LoRA"),
    ({"layer_replication": [[0, 2]]}, "repeated layers"),
    ({"target_parameters": ["weight"]}, "no layer's weight"),
    ({"peft_type": "LOHA"}, "'LOHA'; only plain LoRA"),
    ({"init_lora_weights": "pissa_niter_4"}, "plain weights were changed before training"),
    ({"lora_alpha": "x"}, "lora_alpha=x; it must be a finite number"),
    ({"lora_alpha": float("nan")}, "lora_alpha=nan; it must be a finite number"),
    ({"r": 0}, "r=0; it must be 1 or more"),
    ({"r": True}, "r=True; it must be 1 or more"),
    ({"r": 4}, r"attn1\.to_\S+ has rank 4, and its matrices have 3; use the settings"),
    ({"rank_pattern": [1]}, r"rank_pattern=\[1\], which is no table"),
    ({"rank_pattern": {"to_q": None}, "r": 5}, "has rank"),
    ({"alpha_pattern": {"to_q": []}}, r"alpha_pattern\['to_q'\]=\[\]; it must be a finite"),
    ({"alpha_pattern": {"(?=to_q)": 1}}, r"names layers by '\(\?=to_q\)' in alpha_pattern"),
    ({"alpha_pattern": {f"to_q{i}.*": 1 for i in range(30)}}, "30 regular expressions"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=lambda case: str(case)[:40])
def test_what_is_not_plain_lora_or_no_setting_is_refused(
    settings: dict[str, Any], message: str, trained: Path, tmp_path: Path
) -> None:
    copytree(trained, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    for _ in range(2):
        with pytest.raises(CheckpointError, match=message) as caught:
            PIPE.load_lora_weights(tmp_path)
        assert str(caught.value).endswith(".")
        assert PIPE.get_list_adapters() == {}


TEXTS = [b"{not json", b"null", b"[]", b"3", b'"text"', b"[" * 100_000, b"1" * 5_000, b"", b"\xff{"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:9])
def test_a_broken_file_of_settings_is_refused(text: bytes, trained: Path, tmp_path: Path) -> None:
    copytree(trained, tmp_path, dirs_exist_ok=True)
    (tmp_path / "adapter_config.json").write_bytes(text)
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"adapter_config\.json is .*again\.") as caught:
            PIPE.load_lora_weights(tmp_path)
        assert "\n" not in str(caught.value)
        assert PIPE.get_list_adapters() == {}
