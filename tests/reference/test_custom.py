"""Code and single files beside diffusers': the same file draws the same, and either reads both."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import diffusers
import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image

import dpnb
from tests.pipelines.foreign.test_custom_pipelines import ONE_STEP
from tests.reference.conftest import Written

FAMILIES = ("sd1", "sdxl")


def weights(pipe: Any) -> dict[str, torch.Tensor]:
    return {
        f"{n}.{k}": v for n in ("unet", "vae") for k, v in getattr(pipe, n).state_dict().items()
    }


def same(one: Any, other: Any) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def extracted(path: Path, folder: Path) -> Path:
    huggingface_hub.read_dduf_file(path)
    with ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_diffusers_reads_what_our_single_files_hold(
    written: Written, tmp_path: Path, family: str
) -> None:
    folder, _ = written(family)
    pipe = dpnb.DiffusionPipeline.from_pretrained(folder)
    pipe.save_pretrained(tmp_path / "a.dduf")
    theirs = diffusers.DiffusionPipeline.from_pretrained(extracted(tmp_path / "a.dduf", tmp_path))
    assert type(theirs).__name__ == type(pipe).__name__
    assert same(theirs, pipe)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_file_of_a_folder_that_diffusers_wrote_loads(
    written: Written, tmp_path: Path, family: str
) -> None:
    folder, theirs = written(family)
    huggingface_hub.export_folder_as_dduf(tmp_path / "a.dduf", folder)
    pipe = dpnb.DiffusionPipeline.from_pretrained(tmp_path / "a.dduf")
    assert type(pipe).__name__ == type(theirs).__name__
    assert same(pipe, theirs)


def test_one_file_draws_the_same_in_both(written: Written, monkeypatch: Any) -> None:
    folder, _ = written("sd1")
    how: dict[str, Any] = {"custom_pipeline": str(ONE_STEP), "trust_remote_code": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = diffusers.DiffusionPipeline.from_pretrained(folder, **how)
        ours = dpnb.DiffusionPipeline.from_pretrained(folder, **how)
        assert isinstance(theirs, diffusers.DiffusionPipeline)
        assert isinstance(ours.unet, dpnb.UNet2DConditionModel)
        drawn = []
        for pipe in (theirs, ours):
            pipe.set_progress_bar_config(disable=True)
            generator = torch.Generator().manual_seed(0)
            drawn.append(pipe(generator=generator, num_inference_steps=3).images)
    assert torch.allclose(drawn[0], drawn[1], atol=1e-4)


def test_diffusers_loads_a_custom_pipeline_that_we_saved(written: Written, tmp_path: Path) -> None:
    folder, _ = written("sd1")
    how: dict[str, Any] = {"custom_pipeline": str(ONE_STEP), "trust_remote_code": True}
    ours = dpnb.DiffusionPipeline.from_pretrained(folder, **how)
    ours.save_pretrained(tmp_path)
    theirs = diffusers.DiffusionPipeline.from_pretrained(tmp_path, trust_remote_code=True)
    assert type(theirs).__name__ == "OneStepPipeline"
    assert theirs.unet.dtype is torch.float32


@pytest.mark.parametrize("size", [(24, 16), (30, 21)])
@pytest.mark.parametrize("output_type", ["pt", "np", "pil"])
def test_pictures_are_prepared_alike(size: tuple[int, int], output_type: str) -> None:
    from diffusers.image_processor import VaeImageProcessor as Theirs

    from dpnb.pipelines.foreign.image_processor import VaeImageProcessor as Ours

    levels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    prepared = []
    for kind in (Theirs, Ours):
        processor = kind(vae_scale_factor=8)
        batch = processor.preprocess(Image.fromarray(levels))
        shown = processor.postprocess(batch, output_type, [True])
        prepared.append((batch, np.asarray(shown[0])))
    assert torch.equal(prepared[0][0], prepared[1][0])
    assert np.array_equal(prepared[0][1], prepared[1][1])


@pytest.mark.parametrize(
    "settings", [{}, {"do_normalize": False, "do_binarize": True, "do_convert_grayscale": True}]
)
@pytest.mark.parametrize("form", ["picture", "grey", "array", "tensor", "latents"])
def test_pictures_are_prepared_alike_in_every_form(form: str, settings: dict[str, Any]) -> None:
    from diffusers.image_processor import VaeImageProcessor as Theirs

    from dpnb.pipelines.foreign.image_processor import VaeImageProcessor as Ours

    levels = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    shares = levels.astype(np.float32) / 255
    is_mask = bool(settings)
    image: Any = {
        "picture": Image.fromarray(levels),
        "grey": Image.fromarray(levels).convert("L"),
        "array": shares[..., 0] if is_mask else shares,
        "tensor": torch.from_numpy(shares[..., 0] if is_mask else shares.transpose(2, 0, 1)),
        "latents": torch.zeros(1, 4, 8, 8),
    }[form]
    batches = [kind(**settings).preprocess(image, 16, 24) for kind in (Theirs, Ours)]
    assert torch.equal(*batches)


def test_noise_and_guidance_are_those_that_files_expect() -> None:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
    from diffusers.utils.torch_utils import randn_tensor

    from dpnb.pipelines.foreign import standins

    one, other = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    ours = standins.rescale_noise_cfg(one, other, 0.7)
    assert torch.allclose(ours, rescale_noise_cfg(one, other, 0.7), atol=1e-6)
    drawn = [
        draw((2, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for draw in (randn_tensor, standins.randn_tensor)
    ]
    assert torch.equal(drawn[0], drawn[1])
