"""Settings in files: of the declared type and within bounds, or refused by name."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import CheckpointError, DpnbError, SettingsError
from dpnb.loading.components.registry import MODELS, SCHEDULERS, resolve
from dpnb.loading.config import Config
from dpnb.validation import hints_of

pytestmark = pytest.mark.exhaustive

ABSURD: dict[str, Any] = {
    "UNet2DConditionModel": {
        "transformer_layers_per_block": 10**9,
        "layers_per_block": [2, 10**9],
        "block_out_channels": [32, 1e30],
        "cross_attention_dim": 2**40,
    },
    "AutoencoderKL": {"layers_per_block": 1e9, "latent_channels": 1e30},
    "FluxTransformer2DModel": {"num_layers": 10**9, "num_attention_heads": 10**9},
    "DDIMScheduler": {"num_train_timesteps": 10**9, "steps_offset": 10**9},
    "EulerDiscreteScheduler": {"num_train_timesteps": 1e30, "beta_end": 1e30},
    "LCMScheduler": {"original_inference_steps": 10**9},
}


def settings() -> Iterator[Any]:
    """Every class that has settings, with each of them that is of some type."""
    for name in (*MODELS, *SCHEDULERS):
        config: type[Config] = resolve("diffusers", name).config_class
        for key in config.names():
            if hints_of(config)[key] is not object:
                yield pytest.param(name, key, id=f"{name}-{key}")


def written(folder: Path, kind: Any, values: dict[str, Any]) -> Path:
    (folder / kind.config_name).write_text(json.dumps(values))
    return folder


def load(kind: Any, folder: Path) -> Any:
    """Build by the settings in `folder`: a model with weights of no size."""
    if hasattr(kind, "load"):
        (folder / "diffusion_pytorch_model.bin").unlink(missing_ok=True)
        torch.save({"none": torch.zeros(1)}, folder / "diffusion_pytorch_model.bin")
        return kind.load(folder)
    return kind.from_pretrained(folder)


@pytest.mark.parametrize(("name", "key"), list(settings()))
def test_a_setting_of_another_type_is_refused_by_name(name: str, key: str, tmp_path: Path) -> None:
    kind = resolve("diffusers", name)
    values: tuple[Any, ...] = ({"a": 1}, [{}])
    for value in values:
        written(tmp_path, kind, {key: value})
        with pytest.raises(SettingsError) as caught:
            load(kind, tmp_path)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / kind.config_name} holds settings that cannot be")
        assert f"({key}" in message
        assert "it must be" in message
    with pytest.raises(ValueError, match=key):
        kind(**{key: {"a": 1}})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [(name, key, value) for name, one in ABSURD.items() for key, value in one.items()],
)
def test_an_absurd_size_is_refused_at_once(name: str, key: str, value: Any, tmp_path: Path) -> None:
    kind = resolve("diffusers", name)
    with pytest.raises(SettingsError, match=key):
        load(kind, written(tmp_path, kind, {key: value}))


def test_sizes_within_bounds_are_refused_where_the_weights_are_few(tmp_path: Path) -> None:
    kind = resolve("diffusers", "UNet2DConditionModel")
    deep = {"transformer_layers_per_block": 1000, "layers_per_block": 1000}
    with pytest.raises(SettingsError, match=r"a network of .* and its weights are far fewer"):
        load(kind, written(tmp_path, kind, deep))


def test_numbers_and_nulls_are_taken_as_files_have_them(tmp_path: Path) -> None:
    scheduler = resolve("diffusers", "DDIMScheduler")
    values = {"num_train_timesteps": 1000.0, "clip_sample": None, "clip_sample_range": 1}
    config = scheduler.from_pretrained(written(tmp_path, scheduler, values)).config
    assert config.num_train_timesteps == 1000
    assert type(config.num_train_timesteps) is int
    assert config.clip_sample is None
    assert type(config.clip_sample_range) is float


@pytest.mark.parametrize("value", [5, "sample", {"a": 1}, [1], [["a"]]])
def test_a_list_of_defaults_that_is_none_is_refused(value: Any, tmp_path: Path) -> None:
    kind = resolve("diffusers", "DDIMScheduler")
    with pytest.raises(SettingsError, match="_use_default_values"):
        kind.from_pretrained(written(tmp_path, kind, {"_use_default_values": value}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sd")
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.save_pretrained(place)
    return place


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("model_index.json", "_ignore_files", 5),
        ("model_index.json", "_ignore_files", [5]),
        ("model_index.json", "requires_safety_checker", "yes"),
        ("text_encoder/config.json", "num_hidden_layers", 10**9),
        ("text_encoder/config.json", "num_hidden_layers", 1e30),
        ("text_encoder/config.json", "max_position_embeddings", 10**9),
        ("text_encoder/config.json", "hidden_size", "x"),
        ("text_encoder/config.json", "hidden_act", ["x"]),
        ("tokenizer/tokenizer_config.json", "model_max_length", "x"),
        ("tokenizer/tokenizer_config.json", "model_max_length", -1),
        ("tokenizer/tokenizer.json", "model", []),
        ("tokenizer/tokenizer.json", "added_tokens", {"a": 1}),
    ],
)
def test_a_broken_setting_of_a_pipeline_is_a_sentence(
    file: str, key: str, value: Any, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "broken"
    shutil.copytree(folder, place)
    values = json.loads((place / file).read_text())
    (place / file).write_text(json.dumps({**values, key: value}))
    with pytest.raises(CheckpointError) as caught:
        dpnb.DiffusionPipeline.from_pretrained(place)
    assert str(place) in str(caught.value)
    assert isinstance(caught.value, DpnbError)
    assert caught.value.__cause__ is not None or "model_max_length" in key
    assert "\n" not in str(caught.value)


def test_a_changed_dictionary_of_settings_counts_as_given() -> None:
    config = dpnb.DDIMScheduler(beta_end=0.02).config
    entries = dict(config)

    assert "clip_sample" in entries["_use_default_values"]
    changed = {**entries, "clip_sample": False, "beta_end": 0.03}
    built = dpnb.DDIMScheduler.from_config(changed)
    assert built.config.clip_sample is False
    assert built.config.beta_end == 0.03
    assert {"clip_sample", "beta_end"} <= built.config.given_settings
    again = dpnb.EulerDiscreteScheduler.from_config(copy.deepcopy(entries))
    assert "timestep_spacing" not in again.config.given_settings
    assert pickle.loads(pickle.dumps(entries))["_use_default_values"].values == dict(
        entries["_use_default_values"].values
    )
