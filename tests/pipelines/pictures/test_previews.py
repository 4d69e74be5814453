from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dpnb
from dpnb.emoji import FOLDER
from dpnb.errors import CheckpointError
from dpnb.pipelines.pictures.previews import FILE, LatentColours, colours_of, decode_preview


def test_a_fit_finds_an_affine_map_again() -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(8, 4, 6, 5, generator=generator)
    matrix = torch.randn(5, 3, generator=generator) * 0.1
    colours = torch.einsum("bchw,cd->bdhw", latents, matrix[:4]) + matrix[4].view(1, 3, 1, 1)
    pictures = colours.repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = LatentColours.fit(latents, pictures)
    assert torch.allclose(torch.tensor(found.matrix), matrix, atol=1e-3)
    assert torch.allclose(found.paint(latents), colours.clamp(-1, 1), atol=1e-2)


def test_a_preview_has_the_size_of_the_picture() -> None:
    colours = LatentColours(((0.0, 0.0, 0.0),) * 4 + ((1.0, -1.0, 0.0),))
    [image] = colours.images(torch.zeros(1, 4, 3, 5), scale=8)
    assert image.size == (40, 24)
    assert image.getpixel((0, 0)) == (255, 0, 128)


def test_latents_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="16 channels"):
        LatentColours(((0.0, 0.0, 0.0),) * 5).paint(torch.zeros(1, 16, 2, 2))


def test_a_fit_comes_back_from_its_folder(tmp_path: Path) -> None:
    assert LatentColours.load(tmp_path) is None
    fit = LatentColours(((0.5, 0.25, -0.125),) * 5)
    fit.save(tmp_path)
    assert colours_of(str(tmp_path)) == fit
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(CheckpointError, match="no fit of colours"):
        colours_of(str(tmp_path))


def test_what_has_no_folder_has_no_fit(tmp_path: Path) -> None:
    (tmp_path / "one.dduf").touch()
    assert colours_of(None) is None
    assert colours_of(str(tmp_path / "one.dduf")) is None
    assert colours_of("somebody/something") is None


def test_the_fit_of_the_emoji_model_resembles_its_pictures() -> None:
    fit = colours_of("dpnb/emoji-64")
    assert fit is not None
    pipe = dpnb.StableDiffusionPipeline.from_pretrained(FOLDER)
    pipe.set_progress_bar_config(disable=True)
    prompts = ["a red apple", "a purple cat", "pizza", "a green car"]
    generators = [torch.Generator().manual_seed(90 + i) for i in range(4)]
    latents = pipe(
        prompts, num_inference_steps=6, generator=generators, output_type="latent"
    ).images
    pictures = decode_preview(pipe, latents)
    for preview, picture in zip(fit.images(latents, 4), pictures, strict=True):
        small = [
            torch.frombuffer(bytearray(image.resize((16, 16)).tobytes()), dtype=torch.uint8).float()
            for image in (preview, picture)
        ]
        assert torch.corrcoef(torch.stack(small))[0, 1] > 0.9
