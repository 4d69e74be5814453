import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

import dpnb.emoji
from dpnb.emoji.export import build_scheduler, write_pipeline
from dpnb.emoji.tokenizer import (
    LENGTH,
    build_tokenizer,
    build_vocabulary,
    save_tokenizer,
)

FOLDER = dpnb.emoji.FOLDER
TEXTS = ["a red apple", "cat face on an orange background", "smiling face with heart-eyes"] * 3


def test_the_package_names_the_folder_without_importing_torch() -> None:
    code = "import sys, dpnb.emoji; assert not {'torch', 'transformers'} & set(sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert len(dpnb.emoji.PROMPTS) == len(set(dpnb.emoji.PROMPTS)) == 24


def test_a_vocabulary_has_bytes_then_merges_then_the_two_signs() -> None:
    numbers = build_vocabulary([("a", "t</w>"), ("c", "at</w>")])

    assert len(numbers) == 2 * 256 + 2 + 2
    assert numbers["at</w>"] == 512
    assert list(numbers)[-2:] == ["<|startoftext|>", "<|endoftext|>"]


def test_a_saved_tokenizer_reads_the_same_from_either_form(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(TEXTS)
    save_tokenizer(tokenizer, tmp_path / "both")
    shutil.copytree(tmp_path / "both", tmp_path / "parts")
    (tmp_path / "parts" / "tokenizer.json").unlink()
    read = [CLIPTokenizer.from_pretrained(tmp_path / form) for form in ("both", "parts")]

    for text in (*TEXTS[:3], "", "Émile's 3 cats!!", "cat " * 200):
        given = tokenizer(text, padding="max_length", truncation=True).input_ids
        assert len(given) == LENGTH
        for other in read:
            assert other(text, padding="max_length", truncation=True).input_ids == given


def test_words_come_back_from_their_numbers() -> None:
    tokenizer = build_tokenizer(TEXTS)

    for text in (*TEXTS[:2], "日本 zebra"):
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_everything_in_the_directory_is_small() -> None:
    files = [
        path
        for path in FOLDER.parent.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]

    assert sum(path.stat().st_size for path in files) <= 14_000_000


def test_settings_name_no_place_and_no_machine() -> None:
    for path in FOLDER.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not any(word in text for word in ("/tmp", "/work", "is_local", "_name_or_path"))
    settings = json.loads((FOLDER / "tokenizer" / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == LENGTH


def test_weights_are_stored_in_half_precision_and_are_finite() -> None:
    for path in FOLDER.rglob("*.safetensors"):
        weights = load_file(path)
        assert {weight.dtype for weight in weights.values()} == {torch.float16}
        assert all(weight.isfinite().all() for weight in weights.values())


def test_transformers_finds_every_weight_of_the_text_encoder() -> None:
    loaded: Any = CLIPTextModel.from_pretrained(FOLDER / "text_encoder", output_loading_info=True)
    encoder, report = loaded

    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert encoder.config.vocab_size == len(CLIPTokenizer.from_pretrained(FOLDER / "tokenizer"))


@pytest.mark.slow
def test_diffusers_draws_a_finite_picture_with_it() -> None:
    import diffusers

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(FOLDER, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)

    latents = pipeline(
        "a red apple",
        num_inference_steps=6,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).images
    picture = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample

    assert latents.shape == (1, 4, 16, 16)
    assert picture.isfinite().all()
    corner, middle = picture[0, :, :4, :4].mean(), picture[0, :, 24:40, 24:40].mean(dim=(1, 2))
    assert corner > 0.8
    assert middle[0] > middle[2]


def test_a_model_that_is_written_comes_back(tmp_path: Path) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    weights = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    write_pipeline(tmp_path, pipe.vae, pipe.unet, pipe.text_encoder, pipe.tokenizer)
    assert all(torch.equal(value, weights[name]) for name, value in pipe.unet.state_dict().items())
    again = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    assert type(again) is type(pipe)
    assert again.scheduler.config == pipe.scheduler.config == build_scheduler().config
    for name, network in pipe.parts().items():
        if isinstance(network, torch.nn.Module):
            for key, value in again.parts()[name].state_dict().items():
                assert torch.equal(value, network.state_dict()[key]), (name, key)


def test_weights_are_written_in_half_precision(tmp_path: Path) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", dtype=torch.float32)
    write_pipeline(tmp_path, pipe.vae, pipe.unet, pipe.text_encoder, pipe.tokenizer)
    assert pipe.unet.conv_in.weight.dtype == torch.float32
    for file in tmp_path.rglob("*.safetensors"):
        assert {v.dtype for v in load_file(file).values() if v.is_floating_point()} == {torch.half}
